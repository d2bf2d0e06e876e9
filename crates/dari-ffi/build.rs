//! Names the shared library for the dynamic linker: `libdari.so.0.<minor>`, since before 1.0 a minor version may
//! break the ABI.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let major = var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets the version");
    let minor = var("CARGO_PKG_VERSION_MINOR").expect("cargo sets the version");
    if var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libdari.so.{major}.{minor}");
    }
}
