//! From events to hooks: the only file that calls a handler.
//!
//! All state is up to date before a hook runs. What a hook does is looked at by `turn` when it has returned.

use crate::cause::End;
use crate::cause::{Close, Scene};
use crate::conn::Finish;
use crate::{ConnId, Handler, Net};
use dari_core::{Event, Message, Payload, State};

/// What one event means to the loop and to the hooks. `drained`: nothing of the peer's waits behind it.
pub(crate) fn deliver(net: &mut Net, slot: u32, event: Event<'_>, drained: bool) {
    match event {
        Event::Message { kind, payload } => {
            let message = Message { kind, data: &payload };
            hook(net, slot, |handler, net, id| handler.message(net, id, message));
            if let Payload::Buffer(buffer) = payload {
                net.buffers.give_back(buffer);
            }
        }
        Event::Part { kind, payload, is_last } => {
            let part = Message { kind, data: &payload };
            hook(net, slot, |handler, net, id| handler.part(net, id, part, is_last));
            if let Payload::Buffer(buffer) = payload {
                net.buffers.give_back(buffer);
            }
        }
        Event::Pong(payload) => hook(net, slot, |handler, net, id| handler.pong(net, id, &payload)),
        Event::Upgrade => asked_upgrade(net, slot),
        Event::Http => {
            let id = ConnId(net.conns.id(slot));
            // Who only fetches files is known to nobody.
            if !net.serve_file(id, slot) {
                if let Some(conn) = net.conns.get_mut(slot) {
                    conn.seen = true;
                }
                hook(net, slot, |handler, net, id| handler.http(net, id));
            }
        }
        Event::Open => tell_open(net, slot),
        Event::Refused(status) => net.end(slot, End::Refused(status)),
        Event::Failed(_) => leave(net, slot, Finish::new(End::Done, true, true)),
        Event::Closed => {
            // It has answered the Close frame of a failed connection: there is nothing more to wait for.
            if let Some(finish) = net.conns.get_mut(slot).and_then(|conn| conn.rare.as_mut()?.finish.as_mut()) {
                finish.wait = false;
                return net.touch(slot);
            }
            // RFC 6455 7.1.1: the server is the one who closes the connection.
            let is_client = net.conns.get(slot).is_some_and(|conn| conn.core.is_client());
            leave(net, slot, Finish::new(End::Done, !drained && !is_client, !drained || is_client));
        }
    }
}

fn leave(net: &mut Net, slot: u32, finish: Finish) {
    let now = net.now;
    if let Some(conn) = net.conns.get_mut(slot) {
        conn.mark = now;
        conn.paused = false;
        conn.rare().finish = Some(finish);
    }
    net.arm(slot);
}

fn asked_upgrade(net: &mut Net, slot: u32) {
    let id = ConnId(net.conns.id(slot));
    let request = net.conns.get(slot).and_then(|conn| conn.core.request());
    let lets_in = request.zip(net.endpoint_of(slot)).is_some_and(|(request, endpoint)| endpoint.lets_in(request));
    if !lets_in {
        // Nobody knows the id yet, so nobody hears of it.
        let plain = [("Content-Type", "text/plain; charset=utf-8")];
        let _ = net.respond(id, 403, &plain, b"Pages of this origin may not open a WebSocket here.\n");
        return;
    }
    if let Some(conn) = net.conns.get_mut(slot) {
        conn.seen = true;
    }
    hook(net, slot, |handler, net, id| handler.upgrade(net, id));
    tell_open(net, slot);
}

/// Tells that a connection is open, if it is and nobody was told.
pub(crate) fn tell_open(net: &mut Net, slot: u32) {
    let now = net.now;
    let Some(conn) = net.conns.get_mut(slot) else { return };
    if conn.opened || conn.is_over() || conn.core.state() != State::Open {
        return;
    }
    conn.opened = true;
    conn.mark = now;
    hook(net, slot, |handler, net, id| handler.open(net, id));
}

/// Tells that sending may go on.
pub(crate) fn tell_drain(net: &mut Net, slot: u32) {
    hook(net, slot, |handler, net, id| handler.drain(net, id));
}

/// Tells the end of a connection to those who know it.
pub(crate) fn tell_end(net: &mut Net, slot: u32) {
    let Some(conn) = net.conns.get(slot).filter(|conn| conn.seen) else { return };
    let Some(end) = conn.end() else { return };
    let (bytes, messages) =
        conn.outbox.as_ref().map_or((0, 0), |outbox| (outbox.len() as u64, outbox.messages() as u64));
    let close = Close::new(Scene {
        end,
        closing: conn.core.closing(),
        opened: conn.opened,
        unsent_bytes: bytes,
        unsent_messages: messages,
    });
    if close.cause.is_failure() {
        hook(net, slot, |handler, net, id| handler.error(net, id, &close));
    }
    hook(net, slot, |handler, net, id| handler.close(net, id, &close));
}

/// Calls a hook of the connection's endpoint.
fn hook(net: &mut Net, slot: u32, call: impl FnOnce(&mut dyn Handler, &mut Net, ConnId)) {
    let id = ConnId(net.conns.id(slot));
    let Some(endpoint) = net.conns.get(slot).map(|conn| conn.endpoint) else { return };
    let Some(mut handler) = net.endpoints.get_mut(endpoint).and_then(|endpoint| endpoint.handler.take()) else {
        return;
    };
    call(&mut *handler, net, id);
    if let Some(endpoint) = net.endpoints.get_mut(endpoint) {
        endpoint.handler = Some(handler);
    }
}
