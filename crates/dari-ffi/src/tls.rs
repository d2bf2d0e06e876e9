//! TLS: certificates to show, and whom to trust.
//!
//! An object of these belongs to no loop: it may be made, changed, shared and freed by any thread. What is checked is
//! checked here, once, and not when a peer comes.

use crate::guard::arguments::{argument, bytes, give, optional_path, output, path, shared, take_back};
use crate::guard::plain;
use crate::status::{DARI_OK, dari_status_t};
use crate::types::dari_tls_t;
use dari::Tls;
use std::ffi::{c_char, c_void};
use std::path::Path;
use std::ptr;

/// Makes a server's TLS of a certificate chain and its key, PEM files.
///
/// DARI_ERR_SYSTEM if a file can not be read; DARI_ERR_TLS says which one will
/// not do and why: it holds no certificate, is not for the key, has expired.
/// TLS 1.2 and 1.3. Free it with dari_tls_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_tls_server_new(
    cert_file: *const c_char,
    key_file: *const c_char,
    out: *mut *mut dari_tls_t,
) -> dari_status_t {
    plain("dari_tls_server_new", || {
        let out = output("out", out, ptr::null_mut())?;
        *out = give(dari_tls_t(Tls::server(path("cert_file", cert_file)?, path("key_file", key_file)?)?));
        Ok(DARI_OK)
    })
}

/// The same from memory: `cert_len` bytes of PEM, and `key_len`.
///
/// What is made so has nothing to read again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_tls_server_new_pem(
    cert: *const c_void,
    cert_len: usize,
    key: *const c_void,
    key_len: usize,
    out: *mut *mut dari_tls_t,
) -> dari_status_t {
    plain("dari_tls_server_new_pem", || {
        let out = output("out", out, ptr::null_mut())?;
        *out = give(dari_tls_t(Tls::server_pem(bytes("cert", cert, cert_len)?, bytes("key", key, key_len)?)?));
        Ok(DARI_OK)
    })
}

/// Adds another certificate, for clients that ask for one of its names (SNI).
///
/// The first one stays for all others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_tls_add(
    tls: *const dari_tls_t,
    cert_file: *const c_char,
    key_file: *const c_char,
) -> dari_status_t {
    plain("dari_tls_add", || {
        shared("tls", tls)?.0.add(path("cert_file", cert_file)?, path("key_file", key_file)?)?;
        Ok(DARI_OK)
    })
}

/// Reads all files again; new connections get what is in them.
///
/// All are checked first. If one will not do everything stays as it was, and
/// DARI_ERR_TLS says which one and why. Connections that are there stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_tls_reload(tls: *const dari_tls_t) -> dari_status_t {
    plain("dari_tls_reload", || {
        shared("tls", tls)?.0.reload()?;
        Ok(DARI_OK)
    })
}

/// Asks clients for certificates that a CA of this PEM file has issued.
///
/// With `required` 1 those without one are refused, with 0 they may come; one
/// that will not do is refused in either case.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_tls_client_ca(
    tls: *const dari_tls_t,
    ca_file: *const c_char,
    required: u32,
) -> dari_status_t {
    plain("dari_tls_client_ca", || {
        if required > 1 {
            return Err(argument(format!("required is 0 or 1, not {required}")));
        }
        shared("tls", tls)?.0.client_ca(path("ca_file", ca_file)?, required == 1)?;
        Ok(DARI_OK)
    })
}

/// Makes a client's TLS: it trusts the certificates in a PEM file.
///
/// `roots_file` NULL: those that the system trusts. `cert_file` and `key_file`
/// are its own, for servers that ask; NULL, both: it has none. Certificates of
/// servers are always checked. Free it with dari_tls_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_tls_client_new(
    roots_file: *const c_char,
    cert_file: *const c_char,
    key_file: *const c_char,
    out: *mut *mut dari_tls_t,
) -> dari_status_t {
    plain("dari_tls_client_new", || {
        let out = output("out", out, ptr::null_mut())?;
        let own = match (optional_path(cert_file), optional_path(key_file)) {
            (Some(cert), Some(key)) => Some((Path::new(cert), Path::new(key))),
            (None, None) => None,
            _ => return Err(argument("cert_file and key_file go together: one of them is NULL")),
        };
        *out = give(dari_tls_t(Tls::client(optional_path(roots_file).map(Path::new), own)?));
        Ok(DARI_OK)
    })
}

/// Lets go of it; listeners and clients that use it keep what they need. NULL is
/// fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_tls_free(tls: *mut dari_tls_t) {
    take_back(tls);
}
