//! Vectors: text files that say what bytes bring. Their format is told in the README beside them.

use super::splits::{Outcome, in_every_split, with_trailing_bytes};
use super::{Noise, Peer, Seen, opening};
use dari_core::{Buffers, By, Deflate, Limits, Opening, State};

/// One vector: a rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) is_client: bool,
    pub(crate) is_open: bool,
    pub(crate) limits: Limits,
    memory: Option<usize>,
    protocols: Vec<String>,
    extensions: String,
    status: Option<u16>,
    close: Option<(u16, Vec<u8>)>,
    incomplete: bool,
    pub(crate) bytes: Vec<u8>,
    pub(crate) events: Vec<Seen>,
    out: Option<Vec<u8>>,
    out_begins: Vec<u8>,
    out_holds: Vec<Vec<u8>>,
    end: Option<State>,
    closing: Option<String>,
}

/// The vectors of one file. What stands before the first name holds for all.
pub(crate) fn parse(text: &str) -> Vec<Vector> {
    let (mut shared, mut all) = (Vector::default(), Vec::<Vector>::new());
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').unwrap_or_else(|| panic!("line {}: a name ends with ]", i + 1));
            assert!(all.iter().all(|vector| vector.name != name), "line {}: the name is there twice", i + 1);
            all.push(Vector { name: name.to_owned(), ..shared.clone() });
            continue;
        }
        let vector = all.last_mut().unwrap_or(&mut shared);
        vector.line(line).unwrap_or_else(|| panic!("line {}: {line:?} is not understood", i + 1));
    }
    all
}

impl Vector {
    /// Runs the vector in every way of cutting it, and compares.
    pub(crate) fn run(&self) {
        let new = || self.peer();
        let answer = |peer: &mut Peer, seen: &Seen| self.answer(peer, seen);
        let outcome = if self.incomplete {
            in_every_split(&self.bytes, new, answer)
        } else {
            with_trailing_bytes(&self.bytes, new, answer)
        };
        assert_eq!(outcome.events, self.events, "events");
        assert_eq!(Some(outcome.state), self.end, "end");
        if let Some(out) = &self.out {
            assert_eq!(show(&outcome.out), show(out), "out");
        }
        assert!(outcome.out.starts_with(&self.out_begins), "out-begins: {}", show(&outcome.out));
        for part in &self.out_holds {
            let holds = outcome.out.windows(part.len()).any(|window| window == part);
            assert!(holds, "out-holds {}: {}", show(part), show(&outcome.out));
        }
        if let Some(closing) = &self.closing {
            assert_eq!(&describe(&outcome), closing, "close");
        }
        self.check_failure(&outcome);
    }

    /// What a failure says to the peer follows from its rule.
    fn check_failure(&self, outcome: &Outcome) {
        let Some(failure) = outcome.closing.as_ref().and_then(|closing| closing.failure) else { return };
        let (rule, code) = (failure.violation.rule(), failure.violation.code());
        let line = failure.violation.to_string();
        if self.is_open {
            let key: &[u8] = if self.is_client { &[0; 4] } else { &[] };
            let mask = if self.is_client { 0x80 } else { 0 };
            let len = u8::try_from(2 + rule.len()).expect("a rule fits into a Close frame");
            let wanted = [&[0x88, mask | len], key, &code.to_be_bytes(), rule.as_bytes()].concat();
            assert!(self.close.is_some() || outcome.out.ends_with(&wanted), "out: {}", show(&outcome.out));
        } else if self.is_client {
            assert_eq!(&*outcome.out, self.peer().out.bytes, "a client says nothing to a bad answer");
        } else {
            let status = if code < 1000 { code } else { 503 };
            let out = String::from_utf8_lossy(&outcome.out).into_owned();
            let last = out.rfind(&format!("HTTP/1.1 {status} ")).expect("an answer with the rule's status");
            let closes = |line: &str| line.starts_with("Connection: ") && line.ends_with("close");
            assert!(out[last..].lines().any(closes), "{out}");
            assert!(out.ends_with(&format!("\r\n\r\n{line}\n")), "{out}");
        }
    }

    fn peer(&self) -> Peer {
        let limits = self.limits.clone();
        let mut peer = match (self.is_open, self.is_client) {
            (true, is_client) => Peer::open_extended(is_client, limits, Noise::Zeros, &self.extensions),
            (false, false) => Peer::server(limits),
            (false, true) => {
                let opening = Opening { protocols: self.protocols.clone(), ..opening() };
                Peer::client(limits, opening, Noise::Zeros).unwrap()
            }
        };
        if let Some(memory) = self.memory {
            peer.buffers = Buffers::new(memory);
        }
        if let Some((code, reason)) = &self.close {
            let reason = str::from_utf8(reason).unwrap();
            peer.act(|connection, io| connection.close(*code, reason, io)).unwrap();
        }
        peer
    }

    /// Upgrades are accepted, or refused with the status that the vector names; the answer to a plain request holds
    /// the body that was read.
    fn answer(&self, peer: &mut Peer, seen: &Seen) {
        let result = match (seen, self.status) {
            (Seen::Http { body, .. }, status) => {
                peer.act(|connection, io| connection.respond(status.unwrap_or(200), &[], body, io))
            }
            (_, Some(status)) => peer.act(|connection, io| connection.respond(status, &[], b"", io)),
            (_, None) => {
                let protocol = self.protocols.first().map(String::as_str);
                peer.act(|connection, io| connection.accept(protocol, &[], io))
            }
        };
        result.unwrap();
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (key, value) = line.split_once(':')?;
        let value = value.trim();
        match key {
            "role" => self.is_client = one_of(value, ["server", "client"])?,
            "start" => self.is_open = one_of(value, ["handshake", "open"])?,
            "limits" => value.split(' ').try_for_each(|limit| self.limit(limit))?,
            "deflate" => {
                let takeover = match value {
                    "off" => None,
                    value => Some(one_of(value, ["no takeover", "takeover"])?),
                };
                self.limits.deflate = takeover.map(|takeover| Deflate { takeover, ..Deflate::default() });
            }
            "extensions" => self.extensions = value.to_owned(),
            "protocols" => self.protocols = value.split(' ').map(Into::into).collect(),
            "answer" => self.status = Some(value.parse().ok()?),
            "call" => {
                let (code, reason) = value.strip_prefix("close ")?.split_once(' ')?;
                self.close = Some((code.parse().ok()?, bytes(reason)?));
            }
            "incomplete" => self.incomplete = one_of(value, ["no", "yes"])?,
            "in" => self.bytes.extend(bytes(value)?),
            "event" => self.events.push(event(value)?),
            "out" => self.out.get_or_insert_default().extend(bytes(value)?),
            "out-begins" => self.out_begins.extend(bytes(value)?),
            "out-holds" => self.out_holds.push(bytes(value)?),
            "end" => {
                let states = [State::Connecting, State::Open, State::Closing, State::Closed];
                self.end = states.into_iter().find(|state| format!("{state:?}").eq_ignore_ascii_case(value));
                self.end?;
            }
            "close" => self.closing = Some(value.to_owned()),
            _ => return None,
        }
        Some(())
    }

    fn limit(&mut self, text: &str) -> Option<()> {
        let (name, value) = text.split_once('=')?;
        let value: usize = value.parse().ok()?;
        match name {
            "max_message" => self.limits.max_message = value,
            "max_controls" => self.limits.max_controls = value.try_into().ok()?,
            "max_empty_fragments" => self.limits.max_empty_fragments = value.try_into().ok()?,
            "max_head" => self.limits.max_head = value,
            "max_headers" => self.limits.max_headers = value,
            "max_target" => self.limits.max_target = value,
            "max_body" => self.limits.max_body = value,
            "memory" => self.memory = Some(value),
            _ => return None,
        }
        Some(())
    }
}

/// An ending, in the words of the line `close`.
fn describe(outcome: &Outcome) -> String {
    let Some(closing) = &outcome.closing else { return "none".into() };
    let by = if closing.first == By::Us { "us" } else { "peer" };
    let got = closing.received.as_ref().map_or("none".into(), |got| match got.reason.as_str() {
        "" => got.code.to_string(),
        reason => format!("{} {reason:?}", got.code),
    });
    let sent = closing.sent.map_or("none".into(), |code| code.to_string());
    let clean = if closing.was_clean() { "clean" } else { "unclean" };
    format!("by {by}, got {got}, sent {sent}, {clean}")
}

/// False for the first word, true for the second.
fn one_of(value: &str, words: [&str; 2]) -> Option<bool> {
    words.iter().position(|word| *word == value).map(|at| at == 1)
}

fn event(text: &str) -> Option<Seen> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
    Some(match (word, &words[..]) {
        ("upgrade", [target]) => Seen::Upgrade { target: (*target).into() },
        ("http", [method, target, ..]) => {
            let body = rest.strip_prefix(method)?.trim_start().strip_prefix(target)?;
            Seen::Http { method: (*method).into(), target: (*target).into(), body: bytes(body)? }
        }
        ("open", []) => Seen::Open { protocol: None },
        ("open", [protocol]) => Seen::Open { protocol: Some((*protocol).into()) },
        ("refused", [status]) => Seen::Refused(status.parse().ok()?),
        ("text", _) => Seen::Text(bytes(rest)?),
        ("binary", _) => Seen::Binary(bytes(rest)?),
        ("pong", _) => Seen::Pong(bytes(rest)?),
        ("failed", [rule, code, offset]) => Seen::Failed {
            rule: (*rule).into(),
            code: code.parse().ok()?,
            offset: offset.strip_prefix('@')?.parse().ok()?,
        },
        ("closed", []) => Seen::Closed,
        _ => return None,
    })
}

/// Bytes in the notation of the vectors: hex, quoted text, `COUNT*` before either, and `mask KEY` before the rest.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    let (mut all, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        if let Some(masked) = rest.strip_prefix("mask ") {
            let (key, payload) = masked.trim_start().split_at_checked(8)?;
            let key = hex(key)?;
            let payload = bytes(payload)?;
            all.extend(&key);
            all.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
            return Some(all);
        }
        let mut count = 1;
        if let Some((digits, after)) = rest.split_once('*').filter(|(digits, _)| digits.parse::<usize>().is_ok()) {
            (count, rest) = (digits.parse().ok()?, after);
        }
        let piece;
        if let Some(quoted) = rest.strip_prefix('"') {
            (piece, rest) = unquote(quoted)?;
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            piece = hex(&rest[..end])?;
            rest = &rest[end..];
        }
        (0..count).for_each(|_| all.extend(&piece));
        rest = rest.trim_start();
    }
    Some(all)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let (pairs, odd) = digits.as_ref()?.as_chunks::<2>();
    (odd.is_empty() && !pairs.is_empty())
        .then(|| pairs.iter().map(|[high, low]| u8::try_from(high * 16 + low).unwrap()).collect())
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(Vec<u8>, &str)> {
    let (mut piece, mut rest) = (Vec::new(), text);
    loop {
        let letter = rest.chars().next()?;
        rest = &rest[letter.len_utf8()..];
        match letter {
            '"' => return Some((piece, rest)),
            '\\' => {
                let escaped = rest.chars().next()?;
                rest = &rest[escaped.len_utf8()..];
                match escaped {
                    'r' => piece.push(b'\r'),
                    'n' => piece.push(b'\n'),
                    't' => piece.push(b'\t'),
                    '0' => piece.push(0),
                    '\\' | '"' => piece.push(escaped as u8),
                    'x' => {
                        let (digits, after) = rest.split_at_checked(2)?;
                        piece.extend(hex(digits)?);
                        rest = after;
                    }
                    _ => return None,
                }
            }
            _ => piece.extend(letter.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
}

/// Bytes as text, to be read in a failed test.
fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
