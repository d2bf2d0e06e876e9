//! Connections: both sides of one are the same here.
//!
//! One function a verb, and getters that have a neutral value for an id that is stale.

use crate::guard::arguments::{
    argument, bytes, message, optional_text, output, part, plain, put, put_bytes, put_text,
};
use crate::guard::{getter, quick, verb};
use crate::status::{DARI_ERR_TOO_BIG, DARI_OK, Refusal, dari_status_t, sent};
use crate::types::*;
use dari::{Net, State};
use std::ffi::{c_char, c_void};
use std::os::fd::IntoRawFd;
use std::ptr;

/// Sends one message: now, from any hook or between turns.
///
/// `data` may be NULL if `len` is 0. DARI_BUFFERED: taken, but the peer is
/// slow, so hold back until `drain`. DARI_ERR_FULL: not taken, max_backlog is
/// reached. DARI_ERR_STATE: not open, or a message in parts is unfinished.
/// DARI_ERR_ARGUMENT: text, but not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_send(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    kind: dari_kind_t,
    data: *const c_void,
    len: usize,
) -> dari_status_t {
    let answer = |net: &mut Net| plain(kind, data, len).is_some_and(|message| net.answer(conn.into(), message));
    quick("dari_conn_send", r#loop, answer, move |net| {
        let (message, squeeze) = message(kind, data, len)?;
        Ok(sent(net.send_with(conn.into(), message, squeeze)?))
    })
}

/// Sends the next part of a message, whose whole length nobody need know.
///
/// The first part begins the message, one with `last` other than 0 ends it and
/// may be empty; each has the `kind` of the message, without flags. Parts are
/// frames (RFC 6455 5.4), never compressed; the peer gets one message. Until
/// the last one, other messages on this connection are DARI_ERR_STATE, and
/// what is published passes it over; pings and dari_conn_close are fine, but
/// a message that was not ended never arrives. Each part of a text ends with
/// a whole character, else DARI_ERR_ARGUMENT. DARI_BUFFERED: go on at `drain`.
/// DARI_ERR_FULL: this part was not taken, send it again at `drain`.
/// DARI_ERR_STATE: not open, or not the kind of the parts before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_send_part(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    kind: dari_kind_t,
    data: *const c_void,
    len: usize,
    last: u32,
) -> dari_status_t {
    verb("dari_conn_send_part", r#loop, |net| {
        Ok(sent(net.send_part(conn.into(), part(kind, data, len)?, last != 0)?))
    })
}

/// Starts the closing handshake (RFC 6455 7.1.2). `close` follows.
///
/// `code` is 1000 to 1003, 1007 to 1014, or 3000 to 4999; 0 sends none, and
/// then no reason. `reason` may be NULL; DARI_ERR_TOO_BIG above 123 bytes.
/// What is queued is sent first; no more messages are delivered. A client that
/// is not open yet gives up. DARI_ERR_STATE: closing already, or a request
/// that waits for its answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_close(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    code: u16,
    reason: *const c_char,
) -> dari_status_t {
    verb("dari_conn_close", r#loop, |net| {
        net.close(conn.into(), code, optional_text("reason", reason)?.unwrap_or_default())?;
        Ok(DARI_OK)
    })
}

/// Drops the connection without a word, in whatever state. `close` follows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_abort(r#loop: *mut dari_loop_t, conn: dari_conn_t) -> dari_status_t {
    verb("dari_conn_abort", r#loop, |net| {
        net.abort(conn.into())?;
        Ok(DARI_OK)
    })
}

/// Sends a ping of at most 125 bytes (RFC 6455 5.5.2). `pong` follows.
///
/// You need none to keep a connection alive: see idle_ms. DARI_ERR_TOO_BIG:
/// more than 125 bytes. DARI_ERR_STATE: not open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_ping(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    data: *const c_void,
    len: usize,
) -> dari_status_t {
    verb("dari_conn_ping", r#loop, |net| {
        net.ping(conn.into(), bytes("data", data, len)?)?;
        Ok(DARI_OK)
    })
}

/// Reads no more from the peer, and delivers no more, until dari_conn_resume.
///
/// TCP slows the peer down meanwhile. Silence is not held against it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_pause(r#loop: *mut dari_loop_t, conn: dari_conn_t) -> dari_status_t {
    verb("dari_conn_pause", r#loop, |net| {
        net.pause(conn.into())?;
        Ok(DARI_OK)
    })
}

/// Reads on after dari_conn_pause. What has waited is delivered first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_resume(r#loop: *mut dari_loop_t, conn: dari_conn_t) -> dari_status_t {
    verb("dari_conn_resume", r#loop, |net| {
        net.resume(conn.into())?;
        Ok(DARI_OK)
    })
}

/// DARI_STATE_*, as in a browser's readyState; CLOSED for a stale id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_state(r#loop: *const dari_loop_t, conn: dari_conn_t) -> u32 {
    getter(r#loop, DARI_STATE_CLOSED, |net| match net.state(conn.into()) {
        State::Connecting => DARI_STATE_CONNECTING,
        State::Open => DARI_STATE_OPEN,
        State::Closing => DARI_STATE_CLOSING,
        State::Closed => DARI_STATE_CLOSED,
    })
}

/// Bytes that wait to be sent, as framed; 0 for a stale id, and for a client
/// that is not open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_backlog(r#loop: *const dari_loop_t, conn: dari_conn_t) -> usize {
    getter(r#loop, 0, |net| net.backlog(conn.into()))
}

/// Hangs a pointer of yours on the connection. It is still there in `close`.
///
/// dari never looks behind it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_set_data(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    data: *mut c_void,
) -> dari_status_t {
    verb("dari_conn_set_data", r#loop, |net| {
        net.set_data(conn.into(), data)?;
        Ok(DARI_OK)
    })
}

/// The pointer that dari_conn_set_data left; NULL before, and for a stale id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_data(r#loop: *const dari_loop_t, conn: dari_conn_t) -> *mut c_void {
    getter(r#loop, ptr::null_mut(), |net| net.data(conn.into()))
}

/// Writes the peer's "address:port", and a NUL, into `buf` of `size` bytes.
///
/// Its length without the NUL goes to `len`, which may be NULL. If there is no
/// room: DARI_ERR_TOO_BIG, with the length still in `len`; so NULL and 0 for
/// `buf` and `size` ask for the length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_peer(
    r#loop: *const dari_loop_t,
    conn: dari_conn_t,
    buf: *mut c_char,
    size: usize,
    len: *mut usize,
) -> dari_status_t {
    verb("dari_conn_peer", r#loop, |net| {
        if buf.is_null() && size > 0 {
            return Err(argument(format!("buf is NULL, but its size is {size}")));
        }
        let peer = net.peer(conn.into())?;
        put(len, peer.len());
        if size <= peer.len() {
            let why = format!("the text and its NUL are {} bytes, buf has {size}", peer.len() + 1);
            return Err(Refusal::new(DARI_ERR_TOO_BIG, why));
        }
        put_text(buf, &peer);
        Ok(DARI_OK)
    })
}

/// The subprotocol that both sides agreed on; NULL data if there is none.
///
/// On loan until the next call. None for a stale id either.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_protocol(r#loop: *const dari_loop_t, conn: dari_conn_t) -> dari_str_t {
    getter(r#loop, dari_str_t::NONE, |net| {
        net.protocol(conn.into()).map_or(dari_str_t::NONE, |name| dari_str_t::lend(name.as_bytes()))
    })
}

/// The certificate that the peer of an encrypted connection has shown, in DER.
///
/// On loan until the next call. NULL data if it has shown none; a client shows
/// one if it was asked to: see dari_tls_client_ca.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_certificate(r#loop: *const dari_loop_t, conn: dari_conn_t) -> dari_str_t {
    getter(r#loop, dari_str_t::NONE, |net| net.certificate(conn.into()).map_or(dari_str_t::NONE, dari_str_t::lend))
}

/// Walks over the connections of a loop: the one after `conn`.
///
/// Start with id 0; id 0 comes after the last. Connections may come and go on
/// the way. Those that are not open yet, or no more, are among them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_next(r#loop: *const dari_loop_t, conn: dari_conn_t) -> dari_conn_t {
    getter(r#loop, dari_conn_t { id: 0 }, |net| net.next(conn.named()).map_or(dari_conn_t { id: 0 }, Into::into))
}

/// Takes the descriptor of a connection away from dari; it is yours to close.
///
/// What dari has read of it and not handed on is written to `buf` of `size`
/// bytes, and its length to `len`. If there is no room: DARI_ERR_TOO_BIG, with
/// the length in `len`, and nothing has changed. DARI_ERR_STATE while bytes
/// wait to be sent, while a message or a request is half here, and in a hook
/// behind which more of what was read waits. `close` follows, with
/// DARI_CAUSE_RELEASED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_release(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    fd: *mut i32,
    buf: *mut c_void,
    size: usize,
    len: *mut usize,
) -> dari_status_t {
    verb("dari_conn_release", r#loop, |net| {
        let fd = output("fd", fd, -1)?;
        if buf.is_null() && size > 0 {
            return Err(argument(format!("buf is NULL, but its size is {size}")));
        }
        let unread = net.unread(conn.into())?;
        put(len, unread);
        if size < unread {
            return Err(Refusal::new(
                DARI_ERR_TOO_BIG,
                format!("{unread} bytes are unread, buf has room for {size}"),
            ));
        }
        let (descriptor, bytes) = net.release(conn.into())?;
        put_bytes(buf, &bytes);
        *fd = descriptor.into_raw_fd();
        Ok(DARI_OK)
    })
}
