//! Any bytes as the payload of compressed messages, in any number of frames, against another implementation.

use super::common::{Seen, frame, whole};
use super::{DEFLATE, Data, OTHER, Setup};
use dari_core::{Kind, State};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

const TEXT: u8 = OTHER[0];
const TWICE: u8 = OTHER[1];
const PINGS: u8 = OTHER[2];

/// What RFC 7692 7.2.2 has the receiver add.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

pub(crate) fn run(data: &[u8]) {
    let mut data = Data(data);
    let mut setup = Setup::read(&mut data);
    setup.flags |= DEFLATE;
    setup.limits.deflate = Some(setup.limits.deflate.unwrap_or_default());
    let size = 1 + usize::from(data.byte());
    let payload = data.0;
    let mut bytes = message(&setup, payload, size);
    if setup.has(TWICE) {
        bytes.extend(message(&setup, payload, size));
    }

    let mut peer = setup.open();
    let (mut arrived, mut events) = (0, Vec::new());
    for piece in setup.pieces(&bytes) {
        arrived += piece.len();
        events.extend(peer.feed(piece));
        assert!(peer.peak <= setup.bound(arrived), "{} held, {arrived} arrived", peer.peak);
    }
    let failed = matches!(events.last(), Some(Seen::Failed { code: 1007..=1009, .. }));
    assert_eq!(peer.state() == State::Open, !failed, "{:?}", events.last());
    assert!(peer.buffers.used() <= if failed { 0 } else { super::common::pair::CONTEXTS });

    for (nth, event) in whole(events).into_iter().enumerate() {
        let (kind, payload_is) = match event {
            Seen::Text(payload) => (Kind::Text, payload),
            Seen::Binary(payload) => (Kind::Binary, payload),
            Seen::Part { kind, payload, .. } => (kind, payload),
            _ => continue,
        };
        assert_eq!(kind == Kind::Text, setup.has(TEXT));
        assert!(kind == Kind::Binary || String::from_utf8(payload_is.clone()).is_ok());
        assert!(payload_is.len() <= setup.limits.max_message);
        if nth == 0
            && let Some(wanted) = reference(payload)
        {
            assert!(payload_is == wanted, "{} bytes, another implementation has {}", payload_is.len(), wanted.len());
        }
    }
    peer.release();
}

/// A compressed message in frames of `size` bytes.
fn message(setup: &Setup, payload: &[u8], size: usize) -> Vec<u8> {
    let kind = if setup.has(TEXT) { 1 } else { 2 };
    let mut frames: Vec<&[u8]> = payload.chunks(if size == 256 { usize::MAX } else { size }).collect();
    if frames.is_empty() {
        frames.push(b"");
    }
    let last = frames.len() - 1;
    let mut bytes = Vec::new();
    for (i, part) in frames.iter().enumerate() {
        let first = if i == 0 { 0x40 | kind } else { 0 } | if i == last { 0x80 } else { 0 };
        bytes.extend(frame(setup.is_client(), first, part));
        if setup.has(PINGS) && i % 5 == 0 {
            bytes.extend(frame(setup.is_client(), 0x89, b"between"));
        }
    }
    bytes
}

/// What another implementation makes of a message; nothing where it has to be asked more than once.
fn reference(payload: &[u8]) -> Option<Vec<u8>> {
    let input = [payload, &TAIL].concat();
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    let (mut all, mut step, mut rest) = (Vec::new(), vec![0; 64 << 10], &input[..]);
    loop {
        let done = inflate(&mut state, rest, &mut step, MZFlush::None);
        all.extend_from_slice(&step[..done.bytes_written]);
        rest = &rest[done.bytes_consumed..];
        match done.status {
            // Behind a block with BFINAL another stream may follow: that is for the tests of the connection.
            Ok(MZStatus::StreamEnd) | Err(_) if !rest.is_empty() => return None,
            _ if done.bytes_written < step.len() && rest.is_empty() => return Some(all),
            Err(_) => return Some(all),
            _ => {}
        }
    }
}
