//! The client's side of the opening handshake (RFC 6455 4.1): the request, and what the answer must be.

use crate::deflate::Codec;
use crate::extension;
use crate::handshake::{ACCEPT, RESERVED, accept_key, write_line};
use crate::head::Head;
use crate::http::{self, has_token, trim, violation};
use crate::io::Io;
use crate::{Deflate, Limits, Misuse, Violation};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Bytes of a Retry-After that is read: a date or a number has fewer.
const MOST_RETRY_AFTER: usize = 64;

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// The header Host.
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// Subprotocols, best first.
    pub protocols: Vec<String>,
    /// The header Origin.
    pub origin: Option<String>,
    /// The header Authorization: [`Login::basic`](crate::Login::basic) of the URL.
    pub authorization: Option<String>,
    /// More header lines. A Host, Origin or Authorization among them is sent in place of ours.
    pub headers: Vec<(String, String)>,
}

/// The rules for a list of subprotocols (RFC 6455 4.1), of either side.
pub fn check_protocols(names: &[String]) -> Result<(), Misuse> {
    for (i, name) in names.iter().enumerate() {
        if !http::is_token(name.as_bytes()) {
            return Err(Misuse::ProtocolNoToken(name.clone()));
        }
        if names.iter().take(i).any(|earlier| earlier == name) {
            return Err(Misuse::ProtocolTwice(name.clone()));
        }
    }
    Ok(())
}

/// A handshake that waits for its answer.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) head: Head,
    accept: [u8; ACCEPT],
    protocols: Vec<String>,
    wish: Option<Deflate>,
}

/// What the server has answered.
pub(crate) enum Answer {
    /// 101: open.
    Open { protocol: Option<String>, codec: Option<Codec> },
    /// 1xx: the answer proper is still to come (RFC 9110 15.2).
    Later,
    /// Another status, and its header Retry-After.
    Refused(u16, Option<String>),
}

impl Client {
    /// Checks what is asked for, and appends the request.
    pub(crate) fn start(opening: Opening, wish: Option<Deflate>, io: &mut Io<'_>) -> Result<Self, Misuse> {
        let headers = opening.headers.iter().map(|(name, value)| (&**name, &**value));
        let (hosts, mut headers): (Vec<_>, Vec<_>) = headers.partition(|(name, _)| name.eq_ignore_ascii_case("host"));
        for (name, value) in [("Authorization", &opening.authorization), ("Origin", &opening.origin)] {
            if let Some(value) = value
                && !headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
            {
                headers.insert(0, (name, value));
            }
        }
        http::check_headers(&headers, &RESERVED)?;
        // RFC 9112 3.2: exactly one.
        let host = match hosts[..] {
            [] => &opening.authority,
            [(_, host)] => host,
            [_, (_, host), ..] => return Err(Misuse::Host(host.to_owned())),
        };
        if !http::is_authority(host) {
            return Err(Misuse::Host(host.to_owned()));
        }
        if !http::is_path(&opening.target) {
            return Err(Misuse::Target(opening.target));
        }
        check_protocols(&opening.protocols)?;
        // RFC 6455 4.1: a nonce of 16 bytes, chosen anew for each connection.
        let mut nonce = [0; 16];
        io.entropy.fill(&mut nonce);
        let key = BASE64_STANDARD.encode(nonce);

        let text = io.out.buffer();
        text.extend_from_slice(format!("GET {} HTTP/1.1\r\n", opening.target).as_bytes());
        write_line(text, "Host", host);
        write_line(text, "Upgrade", "websocket");
        write_line(text, "Connection", "Upgrade");
        write_line(text, "Sec-WebSocket-Key", &key);
        write_line(text, "Sec-WebSocket-Version", "13");
        if !opening.protocols.is_empty() {
            write_line(text, "Sec-WebSocket-Protocol", &opening.protocols.join(", "));
        }
        if let Some(wish) = &wish {
            write_line(text, "Sec-WebSocket-Extensions", extension::offer(wish));
        }
        headers.iter().for_each(|(name, value)| write_line(text, name, value));
        text.extend_from_slice(b"\r\n");
        let accept = accept_key(key.as_bytes());
        Ok(Self { head: Head::default(), accept, protocols: opening.protocols, wish })
    }

    /// Judges the answer's head (RFC 6455 4.1, the list after the request's).
    pub(crate) fn answer(&self, text: Vec<u8>, limits: &Limits, io: &mut Io<'_>) -> Result<Answer, Violation> {
        let answer = self.judge(&text, limits);
        io.buffers.give_back(text);
        match answer {
            Ok(Answer::Refused(100 | 102..=199, _)) => Ok(Answer::Later),
            answer => answer,
        }
    }

    fn judge(&self, text: &[u8], limits: &Limits) -> Result<Answer, Violation> {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut parsed = httparse::Response::new(&mut fields);
        parsed.parse(text).map_err(|error| violation(error, limits))?;
        let (Some(version), Some(status)) = (parsed.version, parsed.code) else {
            return Err(Violation::BadStatusLine);
        };
        if parsed.headers.len() > limits.max_headers {
            return Err(Violation::TooManyHeaders { limit: limits.max_headers });
        }
        let values = |name: &'static str| {
            parsed.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
        };
        let only = |name| {
            let mut values = values(name);
            let first = values.next().map(trim);
            if values.next().is_some() { None } else { first }
        };
        if status != 101 {
            let wait = only("retry-after").filter(|value| value.len() <= MOST_RETRY_AFTER);
            let wait = wait.and_then(|value| std::str::from_utf8(value).ok());
            return Ok(Answer::Refused(status, wait.map(str::to_owned)));
        }
        if version == 0 {
            return Err(Violation::BadVersion);
        }
        if !only("upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
            return Err(Violation::AnswerUpgrade);
        }
        if !has_token(values("connection"), "upgrade") {
            return Err(Violation::AnswerConnection);
        }
        if only("sec-websocket-accept") != Some(&self.accept) {
            return Err(Violation::AnswerAccept);
        }
        let agreed = extension::agreed(values("sec-websocket-extensions"), self.wish.as_ref())
            .map_err(|()| Violation::AnswerExtension)?;
        let protocol = self.chosen(only("sec-websocket-protocol"), values("sec-websocket-protocol").count())?;
        let codec = agreed.zip(self.wish).map(|(agreed, wish)| Codec::new(agreed, wish));
        Ok(Answer::Open { protocol, codec })
    }

    /// One of the offered subprotocols, once. As in a browser, none at all fails a client that offered some.
    fn chosen(&self, value: Option<&[u8]>, lines: usize) -> Result<Option<String>, Violation> {
        if lines == 0 && self.protocols.is_empty() {
            return Ok(None);
        }
        let chosen = self.protocols.iter().find(|name| Some(name.as_bytes()) == value);
        chosen.cloned().map(Some).ok_or(Violation::AnswerProtocol)
    }
}
