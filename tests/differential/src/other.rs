//! tungstenite, over a stream in memory.

use crate::Job;
use crate::verdict::{NO_CODE, Sent, Verdict, take_sent};
use std::io::{self, ErrorKind, Read, Write};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

/// Its answer to a Close frame with a bad code says this; it reports no error then.
const BAD_CODE: &str = "Protocol violation";

/// A peer that has sent its part and waits.
struct Wire<'a> {
    pieces: Box<dyn Iterator<Item = &'a [u8]> + 'a>,
    piece: &'a [u8],
    output: Vec<u8>,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            self.piece = self.pieces.next().ok_or(ErrorKind::WouldBlock)?;
        }
        self.piece.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn run(job: &Job, limit: usize) -> Verdict {
    let role = if job.is_client { Role::Client } else { Role::Server };
    let config = WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    let wire = Wire { pieces: Box::new(job.pieces()), piece: &[], output: Vec::new() };
    let mut socket = WebSocket::from_raw_socket(wire, role, Some(config));
    let mut verdict = Verdict::default();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => verdict.events.push(("text", text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => verdict.events.push(("binary", bytes.to_vec())),
            Ok(Message::Ping(bytes)) => verdict.events.push(("ping", bytes.to_vec())),
            Ok(Message::Pong(bytes)) => verdict.events.push(("pong", bytes.to_vec())),
            Ok(Message::Close(frame)) => {
                close(frame, &mut verdict);
                // The answer goes out; a server says with an error that it is done then.
                let done = socket.flush();
                assert!(matches!(done, Ok(()) | Err(Error::ConnectionClosed)), "{done:?}");
                break;
            }
            Ok(Message::Frame(_)) => unreachable!("it is never read"),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => {
                refuse(&error, &mut verdict);
                break;
            }
        }
    }
    let sent = take_sent(&mut socket.get_mut().output, job.is_client);
    finish(sent, verdict)
}

fn close(frame: Option<CloseFrame>, verdict: &mut Verdict) {
    let (code, reason) =
        frame.map_or((NO_CODE, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
    if code == 1002 && reason == BAD_CODE {
        verdict.end = "refused";
        verdict.why = reason;
    } else {
        verdict.end = "closed";
        verdict.received = Some((code, reason.into_bytes()));
    }
}

/// It leaves it to the caller to send a Close frame: this is the code that says what it tells.
fn refuse(error: &Error, verdict: &mut Verdict) {
    verdict.end = "refused";
    verdict.why = error.to_string();
    verdict.sent = match error {
        Error::Protocol(_) => Some(1002),
        Error::Utf8(_) => Some(1007),
        Error::Capacity(_) => Some(1009),
        other => panic!("{other}"),
    };
}

/// What it has sent has to fit what it told.
fn finish(sent: Vec<Sent>, mut verdict: Verdict) -> Verdict {
    let mut pings = verdict.events.iter().filter(|(kind, _)| *kind == "ping").map(|(_, payload)| payload);
    for sent in sent {
        match sent {
            Sent::Pong(payload) => assert_eq!(pings.next(), Some(&payload), "a pong for each ping"),
            Sent::Close(code) => assert!(verdict.sent.replace(code).is_none(), "one Close frame"),
        }
    }
    assert_eq!(pings.next(), None, "a pong for each ping");
    verdict.clean = verdict.end == "closed" && verdict.sent == verdict.received.as_ref().map(|(code, _)| *code);
    verdict
}
