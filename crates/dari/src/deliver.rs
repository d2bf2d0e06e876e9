//! From events to hooks: the only file that calls a handler.
//!
//! All state is up to date before a hook runs. What a hook does is looked at by `turn` when it has returned.

use crate::cause::{Close, End, Scene, judge};
use crate::config::NEVER;
use crate::conn::{Conn, Finish, Flag};
use crate::log::Level;
use crate::output::Told;
use crate::retry::Next;
use crate::wire::Wire;
use crate::{ConnId, DialId, Handler, Limited, Net};
use dari_core::{Event, Message, Payload, State};
use std::time::{Duration, Instant};

/// The event of the log's lines on hooks that took long.
const SLOW_HOOK: &str = "slow_hook";

/// The next attempt of a dial.
pub(crate) struct Again {
    endpoint: u32,
    dial: DialId,
    attempt: u32,
    delay_ms: u32,
}

/// What one event means to the loop and to the hooks. `drained`: nothing of the peer's waits behind it.
pub(crate) fn deliver(net: &mut Net, slot: u32, event: Event<'_>, drained: bool) {
    match event {
        Event::Message { kind, payload } => {
            tell_message(net, slot, Message { kind, data: &payload });
            if let Payload::Buffer(buffer) = payload {
                net.buffers.give_back(buffer);
            }
        }
        Event::Part { kind, payload, is_last } => {
            let part = Message { kind, data: &payload };
            net.stats.messages_in += u64::from(is_last);
            hook(net, slot, "part", |handler, net, id| handler.part(net, id, part, is_last));
            if let Payload::Buffer(buffer) = payload {
                net.buffers.give_back(buffer);
            }
        }
        Event::Pong(payload) => hook(net, slot, "pong", |handler, net, id| handler.pong(net, id, &payload)),
        Event::Upgrade => asked_upgrade(net, slot),
        Event::Http => {
            net.stats.requests += 1;
            let id = net.id(slot);
            // Who only fetches files is known to nobody.
            if may_ask(net, slot) && !net.serve_file(id, slot) {
                if let Some(conn) = net.conns.get_mut(slot) {
                    conn.set(Flag::Seen, true);
                }
                hook(net, slot, "http", |handler, net, id| handler.http(net, id));
            }
        }
        Event::Open => tell_open(net, slot),
        Event::Refused { status, retry_after } => {
            if let Some(wait) = retry_after {
                net.dial_asked_to_wait(slot, &wait);
            }
            net.end(slot, End::Refused(status));
        }
        Event::Failed(_) => {
            // Of a server that did not understand the request nothing is waited for.
            let waits = net.conns.get(slot).is_some_and(|conn| conn.is(Flag::Opened) || !conn.core.is_client());
            leave(net, slot, Finish::new(End::Done, waits, waits));
        }
        Event::Closed => {
            // It has answered the Close frame of a failed connection: there is nothing more to wait for.
            if let Some(finish) = net.conns.get_mut(slot).and_then(|conn| conn.rare.as_mut()?.finish.as_mut()) {
                finish.wait = false;
                return net.touch(slot);
            }
            let is_shutdown = net.conns.get(slot).is_some_and(Conn::is_shutdown);
            let end = if is_shutdown { End::Shutdown } else { End::Done };
            // RFC 6455 7.1.1: the server is the one who closes the connection.
            let is_client = net.conns.get(slot).is_some_and(|conn| conn.core.is_client());
            leave(net, slot, Finish::new(end, !drained && !is_client, !drained || is_client));
        }
    }
}

fn leave(net: &mut Net, slot: u32, finish: Finish) {
    let now = net.now;
    if let Some(conn) = net.conns.get_mut(slot) {
        conn.mark = now;
        conn.set(Flag::Paused, false);
        conn.rare().finish = Some(finish);
    }
}

fn asked_upgrade(net: &mut Net, slot: u32) {
    if !may_ask(net, slot) {
        return;
    }
    let id = net.id(slot);
    let request = net.conns.get(slot).and_then(|conn| conn.core.request());
    let lets_in = request.zip(net.endpoint_of(slot)).is_some_and(|(request, endpoint)| endpoint.lets_in(request));
    if !lets_in {
        // Nobody knows the id yet, so nobody hears of it.
        let plain = [("Content-Type", "text/plain; charset=utf-8")];
        let _ = net.respond(id, 403, &plain, b"Pages of this origin may not open a WebSocket here.\n");
        return;
    }
    if let Some(conn) = net.conns.get_mut(slot) {
        conn.set(Flag::Seen, true);
    }
    hook(net, slot, "upgrade", |handler, net, id| handler.upgrade(net, id));
    tell_open(net, slot);
}

/// Whether a request is let through. Nobody knows the id of one that is not.
fn may_ask(net: &mut Net, slot: u32) -> bool {
    let why = match net.forwarded(slot) {
        Err(which) => which.text(),
        Ok(()) if net.closing => "the server is shutting down",
        Ok(()) => return true,
    };
    if let Some(conn) = net.conns.get_mut(slot) {
        conn.core.keep_no_longer();
    }
    let plain = [("Content-Type", "text/plain; charset=utf-8")];
    // The request is there and waits, so this can not be refused.
    let _ = net.respond(net.id(slot), 503, &plain, format!("{why}.\n").as_bytes());
    false
}

fn tell_message(net: &mut Net, slot: u32, message: Message<'_>) {
    net.stats.messages_in += 1;
    net.told = Told::new(message);
    hook(net, slot, "message", |handler, net, id| handler.message(net, id, message));
    net.told = Told::default();
}

/// Tells messages off the front of `input`, for as long as nothing about them and their connection is special: the
/// same as `deliver`, and faster.
pub(crate) fn tell_messages(net: &mut Net, slot: u32, input: &mut &mut [u8]) {
    let id = net.id(slot);
    let Some(endpoint) = net.conns.get(slot).map(|conn| conn.endpoint) else { return };
    with_handler(net, endpoint, |handler, net| {
        while let Some(conn) = net.conns.get_mut(slot)
            && conn.is_listened_to()
            && let Some(message) = conn.core.receive_whole(input)
        {
            net.is_more_behind = !input.is_empty();
            net.stats.messages_in += 1;
            net.told = Told::new(message);
            timed(net, "message", Some(slot), |net| handler.message(net, id, message));
        }
        net.told = Told::default();
    });
}

/// Tells that a connection is open, if it is and nobody was told.
pub(crate) fn tell_open(net: &mut Net, slot: u32) {
    let now = net.now;
    let Some(conn) = net.conns.get_mut(slot) else { return };
    if conn.is(Flag::Opened) || conn.is_over() || conn.core.state() != State::Open {
        return;
    }
    conn.set(Flag::Opened, true);
    conn.mark = now;
    net.stats.opened += 1;
    net.stats.open += 1;
    let (endpoint, agreed) = (conn.endpoint, conn.wire().map(Wire::agreed));
    net.dial_opened(endpoint);
    net.arm(slot);
    net.say(Level::Debug, "open", Some(slot), || match agreed {
        Some(agreed) => format!("open, {agreed}"),
        None => "open".to_owned(),
    });
    hook(net, slot, "open", |handler, net, id| handler.open(net, id));
    if net.shutdown.is_some() {
        // It was asked for before that began.
        net.tell_to_go(slot);
    }
}

/// Tells that sending may go on.
pub(crate) fn tell_drain(net: &mut Net, slot: u32) {
    hook(net, slot, "drain", |handler, net, id| handler.drain(net, id));
}

/// Tells what a slow peer will not get.
pub(crate) fn tell_dropped(net: &mut Net, slot: u32) {
    let rare = net.conns.get_mut(slot).and_then(|conn| conn.rare.as_mut());
    let Some((messages @ 1.., bytes)) = rare.map(|rare| std::mem::take(&mut rare.dropped)) else { return };
    net.say(Level::Warn, "dropped", Some(slot), || format!("{messages} messages dropped ({bytes} bytes): too slow"));
    hook(net, slot, "dropped", |handler, net, id| handler.dropped(net, id, messages, bytes));
}

/// Tells whom a listener has turned away.
pub(crate) fn tell_limited(net: &mut Net, endpoint: u32) {
    for limited in net.reports(endpoint) {
        let Limited { which, count, peer, .. } = &limited;
        net.say(Level::Warn, "limited", None, || {
            format!("{count} turned away: {}; the last one {peer}", which.text())
        });
        hook_of(net, endpoint, None, "limited", |handler, net| handler.limited(net, &limited));
    }
}

/// Tells the lines of the log that have come together.
pub(crate) fn tell_log(net: &mut Net) {
    if net.lines.is_empty() {
        return;
    }
    let Some(mut hear) = net.lines.hear.take() else { return };
    for line in net.lines.take() {
        if line.event == SLOW_HOOK {
            // Not timed: a log that is always slow would be told so for ever.
            hear(net, &line);
        } else {
            timed(net, "log", None, |net| hear(net, &line));
        }
    }
    net.lines.hear = Some(hear);
}

/// Tells that the shutdown is over.
pub(crate) fn tell_shut_down(net: &mut Net) {
    if let Some((done, dropped)) = net.shut_down() {
        net.say(Level::Info, "shutdown", None, || format!("all have gone, {dropped} were dropped"));
        timed(net, "done", None, |net| done(net, dropped));
    }
}

/// Tells the end of a connection to those who know it, and writes it down for the others.
/// What has to be told when it is gone: that its dial connects again.
pub(crate) fn tell_end(net: &mut Net, slot: u32) -> Option<Again> {
    let conn = net.conns.get(slot)?;
    let end = conn.end()?;
    net.stats.count_close(judge(end, conn.core.closing()).0);
    net.stats.open -= u64::from(conn.is(Flag::Opened));
    if !conn.is(Flag::Seen) && !net.lines.wants(Level::Debug) {
        return None;
    }
    let (messages, bytes) = conn.rare.as_ref().map_or((0, 0), |rare| rare.unsent);
    let messages_waiting = conn.outbox.as_ref().map_or(0, |outbox| outbox.messages());
    let messages_waiting = messages_waiting + conn.wire().map_or(0, Wire::messages);
    let unsent_bytes = if conn.is_asking() { 0 } else { bytes + conn.queued() };
    let mut close = Close::new(Scene {
        end,
        closing: conn.core.closing(),
        opened: conn.is(Flag::Opened),
        unsent_bytes: unsent_bytes as u64,
        unsent_messages: (messages + messages_waiting) as u64,
        detail: conn.rare.as_ref().and_then(|rare| rare.detail.as_deref()),
    });
    let (endpoint, by_host) = (conn.endpoint, end.is_by_host(conn.core.closing()));
    let level = match close.cause.is_failure() {
        _ if !conn.is(Flag::Seen) => Level::Debug,
        true => Level::Warn,
        false => Level::Info,
    };
    let (seen, peer, lived) = (conn.is(Flag::Seen), conn.peer.clone(), net.now.saturating_sub(conn.born));
    net.say(level, "close", Some(slot), || close.text().to_owned());
    if !seen {
        return None;
    }
    let next = net.dial_ended(endpoint, &close, by_host);
    close.will_retry = matches!(next, Some(Next::Again { .. }));
    net.ends.remember(net.id(slot), peer, lived, close.clone());
    if close.cause.is_failure() {
        hook(net, slot, "error", |handler, net, id| handler.error(net, id, &close));
        close.will_retry &= net.may_retry(endpoint);
    }
    hook(net, slot, "close", |handler, net, id| handler.close(net, id, &close));
    let (dial, attempt, delay_ms) = net.dial_next(endpoint, next?)?;
    Some(Again { endpoint, dial, attempt, delay_ms })
}

/// Tells that a dial connects again.
pub(crate) fn tell_again(net: &mut Net, again: Again) {
    let Again { endpoint, dial, attempt, delay_ms } = again;
    net.say(Level::Info, "retry", None, || format!("attempt {attempt} in {delay_ms} ms"));
    hook_of(net, endpoint, None, "retry", |handler, net| handler.retry(net, dial, attempt, delay_ms));
}

/// Calls a hook of the connection's endpoint.
fn hook(net: &mut Net, slot: u32, name: &'static str, call: impl FnOnce(&mut dyn Handler, &mut Net, ConnId)) {
    let id = net.id(slot);
    let Some(endpoint) = net.conns.get(slot).map(|conn| conn.endpoint) else { return };
    hook_of(net, endpoint, Some(slot), name, |handler, net| call(handler, net, id));
}

fn hook_of(
    net: &mut Net,
    endpoint: u32,
    slot: Option<u32>,
    name: &'static str,
    call: impl FnOnce(&mut dyn Handler, &mut Net),
) {
    with_handler(net, endpoint, |handler, net| timed(net, name, slot, |net| call(handler, net)));
}

/// Hands out the handler of an endpoint, which is not there meanwhile.
fn with_handler(net: &mut Net, endpoint: u32, call: impl FnOnce(&mut dyn Handler, &mut Net)) {
    let id = net.endpoints.id(endpoint);
    let Some(mut handler) = net.endpoints.get_mut(endpoint).and_then(|endpoint| endpoint.handler.take()) else {
        return;
    };
    call(&mut *handler, net);
    // It may have gone meanwhile, and another one come to its place.
    if net.endpoints.id(endpoint) == id
        && let Some(endpoint) = net.endpoints.get_mut(endpoint)
    {
        endpoint.handler = Some(handler);
    }
}

/// Runs what the host has given us to run, and says so if it takes longer than it may.
pub(crate) fn timed(net: &mut Net, name: &'static str, slot: Option<u32>, run: impl FnOnce(&mut Net)) {
    if net.slow_hook_ms == NEVER {
        return run(net);
    }
    let began = Instant::now();
    run(net);
    let took = began.elapsed();
    if took >= Duration::from_millis(net.slow_hook_ms.into()) {
        net.stats.slow_hooks += 1;
        let ms = took.as_millis();
        net.say(Level::Warn, SLOW_HOOK, slot, || format!("the hook {name} took {ms} ms: everybody else waited"));
    }
}
