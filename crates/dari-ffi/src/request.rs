//! Requests: there from `upgrade` or `http` until you have answered.
//!
//! The getters have no text for an id that is stale, or whose request is answered; texts are on loan.

use crate::guard::arguments::{bytes, headers, optional_text, text};
use crate::guard::{getter, verb};
use crate::status::{DARI_OK, dari_status_t, sent};
use crate::types::*;
use dari::Request;
use std::ffi::{c_char, c_void};

/// The request's method: "GET". NULL data if there is no request.
///
/// On loan until it is answered, like all that follows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_request_method(r#loop: *const dari_loop_t, conn: dari_conn_t) -> dari_str_t {
    part(r#loop, conn, |request| Some(request.method().as_bytes()))
}

/// The path and query that were asked for, as they were sent: "/chat?room=1".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_request_target(r#loop: *const dari_loop_t, conn: dari_conn_t) -> dari_str_t {
    part(r#loop, conn, |request| Some(request.target().as_bytes()))
}

/// The body of an `http` request, whole; empty for an `upgrade`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_request_body(r#loop: *const dari_loop_t, conn: dari_conn_t) -> dari_str_t {
    part(r#loop, conn, |request| Some(request.body()))
}

/// The value of the `nth` header line, from 0, of that name in any case.
///
/// NULL data if there are not so many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_request_header(
    r#loop: *const dari_loop_t,
    conn: dari_conn_t,
    name: *const c_char,
    nth: usize,
) -> dari_str_t {
    part(r#loop, conn, |request| request.header(text("name", name).ok()?, nth))
}

/// Accepts an upgrade with 101. `open` follows.
///
/// `protocol` is the subprotocol to agree on; NULL takes the first of the
/// listener's that the client offered, if any. `count` more `headers` go with
/// the answer; they may be NULL if it is 0. DARI_ERR_STATE: not an upgrade, or
/// answered already. DARI_ERR_ARGUMENT: the client did not offer `protocol`,
/// or a header has a line end in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_accept(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    protocol: *const c_char,
    headers: *const dari_header_t,
    count: usize,
) -> dari_status_t {
    verb("dari_conn_accept", r#loop, |net| {
        net.accept(conn.into(), optional_text("protocol", protocol)?, &self::headers(headers, count)?)?;
        Ok(DARI_OK)
    })
}

/// Answers a request whole: this refuses an upgrade.
///
/// dari adds Date, Content-Length and Connection, and leaves out the body for
/// HEAD. `count` more `headers` go with it. `status` is 200 to 599.
/// DARI_ERR_STATE: answered already. DARI_ERR_ARGUMENT: a header has a line
/// end in it, or is one that dari writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_respond(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    status: u16,
    headers: *const dari_header_t,
    count: usize,
    body: *const c_void,
    len: usize,
) -> dari_status_t {
    verb("dari_conn_respond", r#loop, |net| {
        net.respond(conn.into(), status, &self::headers(headers, count)?, bytes("body", body, len)?)?;
        Ok(DARI_OK)
    })
}

/// Begins an answer that comes in pieces, of whatever length (chunked).
///
/// Errors as for dari_conn_respond.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_respond_begin(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    status: u16,
    headers: *const dari_header_t,
    count: usize,
) -> dari_status_t {
    verb("dari_conn_respond_begin", r#loop, |net| {
        net.respond_begin(conn.into(), status, &self::headers(headers, count)?)?;
        Ok(DARI_OK)
    })
}

/// Sends the next piece of an answer; a piece of no bytes ends it.
///
/// DARI_BUFFERED and DARI_ERR_FULL as for dari_conn_send. DARI_ERR_STATE: not
/// begun, or ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_respond_piece(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    data: *const c_void,
    len: usize,
) -> dari_status_t {
    verb("dari_conn_respond_piece", r#loop, |net| {
        Ok(sent(net.respond_piece(conn.into(), bytes("data", data, len)?)?))
    })
}

/// Lends a part of a request, if there are both.
fn part(owner: *const dari_loop_t, conn: dari_conn_t, part: impl FnOnce(&Request) -> Option<&[u8]>) -> dari_str_t {
    getter(owner, dari_str_t::NONE, |net| {
        net.request(conn.into()).and_then(part).map_or(dari_str_t::NONE, dari_str_t::lend)
    })
}
