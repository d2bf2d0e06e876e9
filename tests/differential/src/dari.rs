//! dari-core, from a finished handshake on.

use crate::Job;
use crate::verdict::{NO_CODE, Sent, Verdict, take_sent};
use dari_core::{Buffers, Connection, Deflate, Event, Io, Kind, Limits, NoEntropy, Opening, State};
use std::sync::Arc;

/// What a client asks whose nonce is zeros, and what the answer to it holds (RFC 6455 1.3).
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";
const ACCEPT: &str = "ICX+Yqv66kxgM0FcWaLWlFLwTAI=";

struct Engine {
    connection: Connection,
    out: Vec<u8>,
    buffers: Buffers,
    verdict: Verdict,
    /// The message that comes in parts.
    message: Vec<u8>,
    /// Bytes of the handshake.
    start: u64,
}

/// `parts`: messages are handed on as they come.
pub(crate) fn run(job: &Job, parts: bool) -> Verdict {
    let mut engine = Engine::open(job, parts);
    for piece in job.pieces() {
        engine.feed(piece);
    }
    engine.end()
}

impl Engine {
    fn open(job: &Job, parts: bool) -> Self {
        let deflate = job.deflate.map(|takeover| Deflate { takeover, ..Deflate::default() });
        let max_message = job.limit.unwrap_or(usize::MAX);
        let limits = Arc::new(Limits { max_message, parts, deflate, ..Limits::default() });
        let (mut out, mut buffers) = (Vec::new(), Buffers::default());
        let mut io = Io { entropy: &mut NoEntropy, buffers: &mut buffers, out: &mut out };
        let mut connection = if job.is_client {
            let opening = Opening { authority: "a".into(), target: "/".into(), ..Opening::default() };
            Connection::client(limits, opening, &mut io).expect("a good request")
        } else {
            Connection::server(limits)
        };
        let mut head = handshake(job).into_bytes();
        let event = connection.receive(&mut &mut head[..], &mut io);
        match event {
            Some(Event::Upgrade) => connection.accept(None, &[], &mut io).expect("an upgrade to accept"),
            Some(Event::Open) => {}
            other => panic!("the handshake came to {other:?}"),
        }
        assert_eq!(connection.state(), State::Open);
        assert_eq!(connection.may_compress(), job.deflate.is_some());
        out.clear();
        let start = connection.received();
        Self { connection, out, buffers, verdict: Verdict::default(), message: Vec::new(), start }
    }

    fn feed(&mut self, piece: &[u8]) {
        let mut bytes = piece.to_vec();
        let mut input = &mut bytes[..];
        loop {
            let mut io = Io { entropy: &mut NoEntropy, buffers: &mut self.buffers, out: &mut self.out };
            let event = self.connection.receive(&mut input, &mut io);
            // What it has sent, it has sent before the event.
            for sent in take_sent(&mut self.out, self.connection.is_client()) {
                match sent {
                    Sent::Pong(payload) => self.verdict.events.push(("ping", payload)),
                    Sent::Close(code) => assert!(self.verdict.sent.replace(code).is_none(), "one Close frame"),
                }
            }
            let Some(event) = event else { break };
            self.note(event);
        }
    }

    fn note(&mut self, event: Event<'_>) {
        let verdict = &mut self.verdict;
        match event {
            Event::Message { kind, payload } => {
                verdict.events.push((name(kind), payload.to_vec()));
                give_back(payload, &mut self.buffers);
            }
            Event::Part { kind, payload, is_last } => {
                self.message.extend_from_slice(&payload);
                give_back(payload, &mut self.buffers);
                if is_last {
                    verdict.events.push((name(kind), std::mem::take(&mut self.message)));
                }
            }
            Event::Pong(payload) => {
                verdict.events.push(("pong", payload.to_vec()));
                give_back(payload, &mut self.buffers);
            }
            Event::Failed(failure) => {
                assert_ne!(verdict.end, "refused", "a connection fails once");
                verdict.end = "refused";
                verdict.offset = failure.offset.checked_sub(self.start);
                verdict.why = format!("{:?}", failure.violation);
            }
            // Behind an offence the peer's Close frame is not part of the verdict.
            Event::Closed if verdict.end == "refused" => {}
            Event::Closed => {
                let closing = self.connection.closing().expect("what is known of the end");
                verdict.end = "closed";
                verdict.clean = closing.was_clean();
                verdict.received = closing.received.clone().map(|got| (got.code, got.reason.into_bytes()));
                assert_eq!(closing.sent.map(|code| if code == 0 { NO_CODE } else { code }), verdict.sent);
            }
            Event::Upgrade | Event::Http | Event::Open | Event::Refused { .. } => panic!("the handshake is over"),
        }
    }

    fn end(mut self) -> Verdict {
        let mut io = Io { entropy: &mut NoEntropy, buffers: &mut self.buffers, out: &mut self.out };
        self.connection.release(&mut io);
        assert_eq!(self.buffers.used(), 0, "a released connection holds memory");
        self.verdict
    }
}

/// The other side's half of the handshake.
fn handshake(job: &Job) -> String {
    let extension = match (job.deflate, job.is_client) {
        (None, _) => "",
        (Some(true), _) | (Some(false), false) => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        (Some(false), true) => {
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
        }
    };
    let (first, last) = if job.is_client {
        ("HTTP/1.1 101 Switching Protocols", format!("Sec-WebSocket-Accept: {ACCEPT}"))
    } else {
        ("GET / HTTP/1.1", format!("Host: a\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}"))
    };
    format!("{first}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{extension}{last}\r\n\r\n")
}

fn name(kind: Kind) -> &'static str {
    if kind == Kind::Text { "text" } else { "binary" }
}

fn give_back(payload: dari_core::Payload<'_>, buffers: &mut Buffers) {
    if let dari_core::Payload::Buffer(buffer) = payload {
        buffers.give_back(buffer);
    }
}
