//! Servers and clients: where connections come from.
//!
//! Settings of C become settings of dari here, with dari's defaults for what is zero.

use crate::guard::arguments::{
    argument, headers, null, optional_list, optional_path, optional_shared, optional_text, put, text, versioned,
};
use crate::guard::{getter, verb};
use crate::hooks::CHandler;
use crate::settings::*;
use crate::status::{DARI_OK, Refusal, dari_status_t};
use crate::types::*;
use dari::{Connect, Deflate, Door, Limits, Listen, Origins, Reconnect, Slow};
use std::ffi::c_char;

/// Listens, and serves WebSockets and HTTP on one port.
///
/// `address` is "127.0.0.1:9001", "[::1]:9001" ("[::]:0" has the system pick a
/// port), "unix:/path" or, on Linux, "unix:@name". `how` and `out` may be NULL.
/// DARI_ERR_SYSTEM if the address is taken or may not be used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_listen(
    r#loop: *mut dari_loop_t,
    address: *const c_char,
    how: *const dari_listen_t,
    handler: *const dari_handler_t,
    out: *mut dari_listener_t,
) -> dari_status_t {
    verb("dari_loop_listen", r#loop, |net| {
        let handler = versioned(handler)?.ok_or_else(|| null("handler"))?;
        let mut how = versioned(how)?.map_or_else(|| Ok(Listen::default()), listen)?;
        how.limits.parts = handler.part.is_some();
        put(out, net.listen(text("address", address)?, how, CHandler::boxed(r#loop, handler))?.into());
        Ok(DARI_OK)
    })
}

/// The port that a listener has; 0 if it has none, or is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_listener_port(r#loop: *const dari_loop_t, listener: dari_listener_t) -> u16 {
    getter(r#loop, 0, |net| net.listener_port(listener.into()).unwrap_or(0))
}

/// Accepts no more connections. Those that are there stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_listener_close(r#loop: *mut dari_loop_t, listener: dari_listener_t) -> dari_status_t {
    verb("dari_listener_close", r#loop, |net| {
        net.close_listener(listener.into())?;
        Ok(DARI_OK)
    })
}

/// Connects to a URL: `open` and `close` follow, or `close`.
///
/// "ws://host:port/path", "wss://..." with TLS, http and https for the same,
/// "ws+unix:/path/of/socket:/target". A login before the host becomes a header
/// Authorization. Names are looked up on a thread of the loop's, which the first
/// one starts. The id is good at once, though nothing can be sent before `open`.
/// `how` and `out` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_connect(
    r#loop: *mut dari_loop_t,
    url: *const c_char,
    how: *const dari_connect_t,
    handler: *const dari_handler_t,
    out: *mut dari_conn_t,
) -> dari_status_t {
    verb("dari_loop_connect", r#loop, |net| {
        let handler = versioned(handler)?.ok_or_else(|| null("handler"))?;
        let mut how = versioned(how)?.map_or_else(|| Ok(Connect::default()), connect)?;
        how.limits.parts = handler.part.is_some();
        put(out, net.connect(text("url", url)?, how, CHandler::boxed(r#loop, handler))?.into());
        Ok(DARI_OK)
    })
}

/// Names what has made a connection, and makes the next one if it is to: see
/// retry_ms. Id 0 for one that was accepted, and for a stale id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_conn_dial(r#loop: *const dari_loop_t, conn: dari_conn_t) -> dari_dial_t {
    getter(r#loop, dari_dial_t { id: 0 }, |net| net.dial(conn.into()).map_or(dari_dial_t { id: 0 }, Into::into))
}

/// Connects no more. A connection that is open stays; one that is not open yet
/// ends, with DARI_CAUSE_LOCAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_dial_stop(r#loop: *mut dari_loop_t, dial: dari_dial_t) -> dari_status_t {
    verb("dari_dial_stop", r#loop, |net| {
        net.stop_dial(dial.into())?;
        Ok(DARI_OK)
    })
}

fn listen(how: dari_listen_t) -> Result<Listen, Refusal> {
    let origins = match optional_list("origins", how.origins)? {
        None => Origins::Same,
        Some(list) if list.iter().any(|origin| origin == "*") => Origins::Any,
        Some(list) => Origins::List(list),
    };
    Ok(Listen {
        limits: limits(how.limits)?,
        protocols: optional_list("protocols", how.protocols)?.unwrap_or_default(),
        origins,
        folder: optional_path(how.folder).map(Into::into),
        door: door(&how)?,
        tls: optional_shared(how.tls).map(|tls| tls.0.clone()),
        reuse_port: how.flags & DARI_LISTEN_REUSE_PORT != 0,
    })
}

fn door(how: &dari_listen_t) -> Result<Door, Refusal> {
    let default = Door::default();
    let size = |given, default| if given == 0 { default } else { given };
    if how.flags & !(DARI_LISTEN_LIMIT_LOOPBACK | DARI_LISTEN_REUSE_PORT) != 0 {
        return Err(argument(format!("flags {:#x} has a bit that is no DARI_LISTEN_*", how.flags)));
    }
    Ok(Door {
        max_conns: (how.max_conns != 0).then_some(how.max_conns),
        max_conns_per_ip: size(how.max_conns_per_ip, default.max_conns_per_ip),
        connects_per_second_per_ip: size(how.connects_per_second_per_ip, default.connects_per_second_per_ip),
        limit_loopback: how.flags & DARI_LISTEN_LIMIT_LOOPBACK != 0,
        trusted_proxies: optional_list("trusted_proxies", how.trusted_proxies)?.unwrap_or_default(),
    })
}

fn connect(how: dari_connect_t) -> Result<Connect, Refusal> {
    let lines = headers(how.headers, how.header_count)?;
    Ok(Connect {
        limits: limits(how.limits)?,
        protocols: optional_list("protocols", how.protocols)?.unwrap_or_default(),
        headers: lines.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        origin: optional_text("origin", how.origin)?.map(str::to_owned),
        tls: optional_shared(how.tls).map(|tls| tls.0.clone()),
        tls_name: optional_text("tls_name", how.tls_name)?.map(str::to_owned),
        proxy: optional_text("proxy", how.proxy)?.map(str::to_owned),
        retry: retry(&how),
        keepalive_ms: (how.keepalive_ms != 0).then_some(how.keepalive_ms),
        user_timeout_ms: (how.user_timeout_ms != 0).then_some(how.user_timeout_ms),
    })
}

fn retry(how: &dari_connect_t) -> Option<Reconnect> {
    let default = Reconnect::default();
    (how.retry_ms != 0).then_some(Reconnect {
        first_ms: how.retry_ms,
        longest_ms: if how.retry_max_ms == 0 { default.longest_ms } else { how.retry_max_ms },
        count: if how.retry_count == 0 { default.count } else { how.retry_count },
    })
}

fn limits(of: *const dari_limits_t) -> Result<Limits, Refusal> {
    let default = Limits::default();
    let Some(of) = versioned(of)? else {
        return Ok(default);
    };
    let size = |given, default| if given == 0 { default } else { given };
    let time = |given, default| if given == 0 { default } else { given };
    Ok(Limits {
        max_message: size(of.max_message, default.max_message),
        high_water: size(of.high_water, default.high_water),
        low_water: size(of.low_water, default.low_water),
        max_backlog: size(of.max_backlog, default.max_backlog),
        max_head: size(of.max_head, default.max_head),
        max_body: size(of.max_body, default.max_body),
        handshake_ms: time(of.handshake_ms, default.handshake_ms),
        idle_ms: time(of.idle_ms, default.idle_ms),
        close_ms: time(of.close_ms, default.close_ms),
        stall_ms: time(of.stall_ms, default.stall_ms),
        max_controls: time(of.max_controls, default.max_controls),
        slow: match of.slow {
            DARI_SLOW_REFUSE => Slow::Refuse,
            DARI_SLOW_CLOSE => Slow::Close,
            DARI_SLOW_DROP_OLDEST => Slow::DropOldest,
            other => return Err(argument(format!("slow {other} is no DARI_SLOW_*"))),
        },
        max_target: size(of.max_target, default.max_target),
        max_headers: size(of.max_headers as usize, default.max_headers),
        max_empty_fragments: time(of.max_empty_fragments, default.max_empty_fragments),
        keep_alive_ms: time(of.keep_alive_ms, default.keep_alive_ms),
        deflate: deflate(&of)?,
        ..default
    })
}

fn deflate(of: &dari_limits_t) -> Result<Option<Deflate>, Refusal> {
    let default = Deflate::default();
    let level = match u8::try_from(of.deflate_level) {
        Ok(0) => default.level,
        Ok(level @ 1..=9) => level,
        _ => return Err(argument(format!("deflate_level {} is not 0 to 9", of.deflate_level))),
    };
    let takeover = match of.deflate {
        DARI_DEFLATE_OFF => return Ok(None),
        DARI_DEFLATE => false,
        DARI_DEFLATE_TAKEOVER => true,
        other => return Err(argument(format!("deflate {other} is no DARI_DEFLATE_*"))),
    };
    let min = if of.deflate_min == 0 { default.min } else { of.deflate_min };
    Ok(Some(Deflate { takeover, level, min }))
}
