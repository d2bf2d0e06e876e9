//! The closing handshake (RFC 6455 7): codes, and what is known of an end as it comes.

use crate::frame::MAX_CONTROL;
use crate::{Misuse, Violation};

/// The code that stands for a Close frame without one (RFC 6455 7.4.1); never on the wire.
pub(crate) const NO_CODE: u16 = 1005;

/// Whether a Close frame may carry `code` (RFC 6455 7.4, and the registry it set up).
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Checks what a Close frame of ours is to say; code 0 is none.
pub fn check(code: u16, reason: &str) -> Result<(), Misuse> {
    match code {
        0 if !reason.is_empty() => Err(Misuse::ReasonAlone),
        code if code != 0 && !may_be_sent(code) => Err(Misuse::Code(code)),
        _ if reason.len() > MAX_CONTROL - 2 => Err(Misuse::TooLong(reason.len(), MAX_CONTROL - 2)),
        _ => Ok(()),
    }
}

/// Which side sent its Close frame first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The other side.
    Peer,
    /// This side.
    Us,
}

/// What the peer's first Close frame said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its code; 1005 if it had none.
    pub code: u16,
    /// Its reason, often empty.
    pub reason: String,
}

/// A broken rule, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The rule.
    pub violation: Violation,
    /// The place in the peer's stream, in bytes from its beginning, where the offence begins.
    pub offset: u64,
}

/// An end that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Whose Close frame, or whose offence, began it.
    pub first: By,
    /// The code of our Close frame; `Some(0)` if it went without one.
    pub sent: Option<u16>,
    /// The peer's Close frame.
    pub received: Option<Received>,
    /// Why this side failed the connection.
    pub failure: Option<Failure>,
}

impl Closing {
    /// Whether Close frames went both ways and neither side failed the connection.
    pub fn was_clean(&self) -> bool {
        self.sent.is_some() && self.received.is_some() && self.failure.is_none()
    }
}

/// Reads the payload of a Close frame (RFC 6455 5.5.1).
pub(crate) fn read(payload: &[u8]) -> Result<Received, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(Received { code: NO_CODE, reason: String::new() }),
            _ => Err(Violation::CloseLength),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(Violation::CloseCode(code));
    }
    let reason = str::from_utf8(reason).map_err(|_| Violation::CloseReason)?;
    Ok(Received { code, reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_sent_are_those_of_the_table() {
        let good: Vec<u16> = (0..=u16::MAX).filter(|code| may_be_sent(*code)).collect();
        let wanted: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(good, wanted);
    }

    #[test]
    fn payloads_are_read_by_the_rules() {
        assert_eq!(read(b"").map(|got| got.code), Ok(1005));
        assert_eq!(read(b"\x03"), Err(Violation::CloseLength));
        assert_eq!(read(b"\x03\xed"), Err(Violation::CloseCode(1005)));
        assert_eq!(read(b"\x03\xe8\xff"), Err(Violation::CloseReason));
        let bye = Received { code: 1000, reason: "안녕".to_owned() };
        assert_eq!(read(&[&[3, 0xe8], "안녕".as_bytes()].concat()), Ok(bye));
    }
}
