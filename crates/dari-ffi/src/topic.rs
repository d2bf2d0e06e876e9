//! Topics, and messages for many: framed once, whoever gets them.
//!
//! A payload belongs to no loop, so those functions know no thread.

use crate::guard::arguments::{give, message, output, shared, take_back, text};
use crate::guard::{getter, plain, verb};
use crate::status::{DARI_OK, dari_status_t, sent};
use crate::types::*;
use dari::Payload;
use std::ffi::{c_char, c_void};
use std::ptr;

/// Gives a connection everything that is published to `topic`.
///
/// It may do so before it is open, and hears what comes after `open`. A topic
/// is there while it has subscribers. Subscribing twice is once. The end of
/// the connection unsubscribes. DARI_ERR_STATE: it has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_subscribe(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    topic: *const c_char,
) -> dari_status_t {
    verb("dari_conn_subscribe", r#loop, |net| {
        net.subscribe(conn.into(), text("topic", topic)?)?;
        Ok(DARI_OK)
    })
}

/// Ends a subscription. One that was not there is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_unsubscribe(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    topic: *const c_char,
) -> dari_status_t {
    verb("dari_conn_unsubscribe", r#loop, |net| {
        net.unsubscribe(conn.into(), text("topic", topic)?)?;
        Ok(DARI_OK)
    })
}

/// How many connections have subscribed to `topic`; 0 if it is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_subscribers(r#loop: *const dari_loop_t, topic: *const c_char) -> usize {
    getter(r#loop, 0, |net| text("topic", topic).map_or(0, |topic| net.subscribers(topic)))
}

/// Sends a message to every subscriber of `topic` but `except`.
///
/// Id 0 excepts nobody. A subscriber whose queue is full, or whose message in
/// parts is unfinished, is passed over; no subscribers at all is fine. It is
/// compressed once for all who have agreed to the same, but once for each
/// with DARI_DEFLATE_TAKEOVER. DARI_ERR_ARGUMENT: text, but not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_publish(
    r#loop: *mut dari_loop_t,
    topic: *const c_char,
    except: dari_conn_t,
    kind: dari_kind_t,
    data: *const c_void,
    len: usize,
) -> dari_status_t {
    verb("dari_loop_publish", r#loop, |net| {
        let (message, squeeze) = message(kind, data, len)?;
        net.publish_with(text("topic", topic)?, except.named(), message, squeeze)?;
        Ok(DARI_OK)
    })
}

/// Frames a message once, to be sent to a list of your own.
///
/// On any thread. It is compressed when it is first sent to a peer that has
/// agreed to that, and then kept in both forms. `*out` is NULL if it fails.
/// Free it with dari_payload_free, at any time: what is queued stays queued.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_payload_new(
    kind: dari_kind_t,
    data: *const c_void,
    len: usize,
    out: *mut *mut dari_payload_t,
) -> dari_status_t {
    plain("dari_payload_new", || {
        let out = output("out", out, ptr::null_mut())?;
        let (message, squeeze) = message(kind, data, len)?;
        *out = give(dari_payload_t(Payload::new_with(message, squeeze)?));
        Ok(DARI_OK)
    })
}

/// Sends a payload as dari_conn_send sends a message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_send_payload(
    r#loop: *mut dari_loop_t,
    conn: dari_conn_t,
    payload: *const dari_payload_t,
) -> dari_status_t {
    verb("dari_conn_send_payload", r#loop, |net| {
        Ok(sent(net.send_payload(conn.into(), &shared("payload", payload)?.0)?))
    })
}

/// Frees a payload, on any thread. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_payload_free(payload: *mut dari_payload_t) {
    take_back(payload);
}
