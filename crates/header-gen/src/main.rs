//! Writes `include/dari.h` from the sources of `crates/dari-ffi`; with `--check`, says whether it is up to date.
//!
//! cbindgen makes the declarations, this program puts them into the order of the sources. It decides nothing about
//! what is declared. It is run by `make header`, never by a user's build.

mod arrange;
mod source;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// The sources that hold declarations, in the order in which the header is read.
const SOURCES: [&str; 12] = [
    "status",
    "types",
    "settings",
    "event_loop",
    "stats",
    "remote",
    "endpoint",
    "tls",
    "conn",
    "request",
    "topic",
    "timer",
];

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = root.join("include/dari.h");
    let result = header(&root.join("crates/dari-ffi")).and_then(|header| match std::env::args().nth(1).as_deref() {
        None => write(&target, &header),
        Some("--check") => check(&target, &header),
        Some(other) => Err(format!("{other} is not known; --check is, or nothing")),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("header-gen: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The whole text of the header.
fn header(library: &Path) -> Result<String, String> {
    let config = cbindgen::Config::from_file(library.join("cbindgen.toml"))?;
    let mut builder = cbindgen::Builder::new().with_config(config);
    let mut sources = Vec::new();
    for name in SOURCES {
        let path = library.join("src").join(name).with_extension("rs");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        sources.push(source::scan(&text));
        builder = builder.with_src(path);
    }
    let mut generated = Vec::new();
    builder.generate().map_err(|error| error.to_string())?.write(&mut generated);
    let generated = String::from_utf8(generated).map_err(|error| error.to_string())?;
    let header = arrange::arrange(&generated, &sources)?
        .replace("@MAJOR@", env!("CARGO_PKG_VERSION_MAJOR"))
        .replace("@MINOR@", env!("CARGO_PKG_VERSION_MINOR"))
        .replace("@PATCH@", env!("CARGO_PKG_VERSION_PATCH"));
    Ok(header)
}

fn write(target: &Path, header: &str) -> Result<(), String> {
    target.parent().map_or(Ok(()), fs::create_dir_all).map_err(|error| error.to_string())?;
    fs::write(target, header).map_err(|error| format!("{}: {error}", target.display()))
}

/// Fails if the file is not the header, and shows the first line that differs.
fn check(target: &Path, header: &str) -> Result<(), String> {
    let there = fs::read_to_string(target).map_err(|error| format!("include/dari.h: {error}"))?;
    if there == header {
        return Ok(());
    }
    let (mut old, mut new) = (there.lines(), header.lines());
    let mut number = 1;
    loop {
        let (old, new) = (old.next(), new.next());
        if old != new || old.is_none() {
            let show = |line: Option<&str>| line.unwrap_or("(the end of the file)").to_owned();
            let (old, new) = (show(old), show(new));
            return Err(format!(
                "include/dari.h is not what the sources make; run `make header`\n@@ line {number} @@\n-{old}\n+{new}"
            ));
        }
        number += 1;
    }
}
