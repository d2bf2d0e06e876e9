//! What is compared: messages and control frames in their order, and how it ended. What an engine does after the
//! end is not part of it.

use serde_json::{Value, json};

/// The code of a Close frame without one (RFC 6455 7.4.1).
pub(crate) const NO_CODE: u16 = 1005;

#[derive(Debug)]
pub(crate) struct Verdict {
    /// text, binary, ping (answered) or pong, with what it says.
    pub(crate) events: Vec<(&'static str, Vec<u8>)>,
    /// open: nothing wrong so far; closed: the peer's Close frame was good; refused: a rule was broken.
    pub(crate) end: &'static str,
    /// The peer's Close frame, if it was good.
    pub(crate) received: Option<(u16, Vec<u8>)>,
    /// The code of the engine's own Close frame.
    pub(crate) sent: Option<u16>,
    /// Close frames went both ways and nothing was wrong.
    pub(crate) clean: bool,
    /// The reason in the engine's own words: for people and for the rules about known differences.
    pub(crate) why: String,
    /// Where in the stream the offence begins.
    pub(crate) offset: Option<u64>,
}

impl Default for Verdict {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            end: "open",
            received: None,
            sent: None,
            clean: false,
            why: String::new(),
            offset: None,
        }
    }
}

impl Verdict {
    pub(crate) fn to_json(&self) -> Value {
        let events: Vec<Value> = self.events.iter().map(|(kind, bytes)| json!([kind, hex(bytes)])).collect();
        json!({
            "events": events,
            "end": self.end,
            "received": self.received.as_ref().map(|(code, _)| code),
            "reason": self.received.as_ref().map(|(_, reason)| hex(reason)),
            "sent": self.sent,
            "clean": self.clean,
            "why": self.why,
            "offset": self.offset,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// A control frame that an engine has written.
#[derive(Debug)]
pub(crate) enum Sent {
    Pong(Vec<u8>),
    Close(u16),
}

/// Takes the frames off an engine's output. They have to be whole, good, and pongs or Close frames: nothing else is
/// asked of an engine here.
pub(crate) fn take_sent(output: &mut Vec<u8>, by_client: bool) -> Vec<Sent> {
    let (bytes, mut rest, mut sent) = (std::mem::take(output), 0, Vec::new());
    while rest < bytes.len() {
        let (first, second) = (bytes[rest], bytes[rest + 1]);
        assert_eq!(second & 0x80 != 0, by_client, "a client masks, a server does not");
        let len = usize::from(second & 0x7f);
        assert!(len <= 125, "a control frame is short");
        let start = rest + if by_client { 6 } else { 2 };
        let key = if by_client { &bytes[rest + 2..start] } else { &[0; 4] };
        let payload: Vec<u8> =
            bytes[start..start + len].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        sent.push(match first {
            0x8a => Sent::Pong(payload),
            0x88 => Sent::Close(match payload[..] {
                [] => NO_CODE,
                [high, low, ..] => u16::from_be_bytes([high, low]),
                _ => panic!("a Close frame of one byte was sent"),
            }),
            other => panic!("a frame was sent that begins with {other:#x}"),
        });
        rest = start + len;
    }
    sent
}
