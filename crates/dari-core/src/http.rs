//! HTTP/1.1 as far as one port needs it (RFC 9110, 9112): requests read, answers written, bodies framed.

use crate::io::{Io, Output};
use crate::{Buffers, Limits, Misuse, Violation};
use std::mem::MaybeUninit;

/// More header lines than this are never parsed.
const MOST_HEADERS: usize = 100;

/// A place in the text of a head.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    /// Where `part`, a slice of `text`, lies in it.
    fn of(part: &[u8], text: &[u8]) -> Self {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        Self { start, end: start + part.len() }
    }

    fn len(self) -> usize {
        self.end - self.start
    }
}

/// One request, whole.
#[derive(Debug)]
pub struct Request {
    text: Vec<u8>,
    method: Span,
    target: Span,
    fields: Vec<(Span, Span)>,
    minor: u8,
    pub(crate) body: Vec<u8>,
}

/// Bytes of memory that a list of header lines has.
fn size_of_fields(fields: &Vec<(Span, Span)>) -> usize {
    fields.capacity() * size_of::<(Span, Span)>()
}

/// How the end of a body is told (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
}

impl Request {
    /// The method, as it was sent: `GET`.
    pub fn method(&self) -> &str {
        self.str(self.method)
    }

    /// The path and the query: `/chat?room=1`, or `*`.
    pub fn target(&self) -> &str {
        self.str(self.target)
    }

    /// The body; empty for an opening handshake.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The value of the `nth` header line (from 0) with this name, in any case.
    pub fn header(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.values(name).nth(nth)
    }

    /// All header lines, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (self.str(*name), self.bytes(*value)))
    }

    pub(crate) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let is_it = move |span: Span| span.len() == name.len() && is_same(self.bytes(span), name);
        self.fields.iter().filter(move |(other, _)| is_it(*other)).map(|(_, value)| self.bytes(*value))
    }

    /// Whether one of the header's comma-separated values is `token`, in any case.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        has_token(self.values(name), token)
    }

    pub(crate) fn is_old(&self) -> bool {
        self.minor == 0
    }

    /// Whether the connection can serve another request after this one (RFC 9112 9.3).
    pub(crate) fn keeps_alive(&self) -> bool {
        !self.is_old() && !self.has_token("connection", "close")
    }

    /// Bytes of memory that it has.
    pub(crate) fn held(&self) -> usize {
        self.text.capacity() + self.body.capacity() + size_of_fields(&self.fields)
    }

    pub(crate) fn release(self, io: &mut Io<'_>) {
        io.buffers.uncharge(size_of_fields(&self.fields));
        io.buffers.give_back(self.text);
        io.buffers.give_back(self.body);
    }

    /// Reads a whole head; the rules of RFC 9112 that hold for every request are checked here. A head that breaks
    /// one is lost, and its memory goes back.
    pub(crate) fn parse(text: Vec<u8>, limits: &Limits, io: &mut Io<'_>) -> Result<Self, Violation> {
        let mut fields = [MaybeUninit::uninit(); MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut []);
        let result = match parsed.parse_with_uninit_headers(&text, &mut fields) {
            Ok(_) => Self::spans(&parsed, &text, limits, io.buffers),
            Err(error) => Err(violation(error, limits)),
        };
        match result {
            Ok((method, target, fields, minor)) => {
                let request = Self { text, method, target, fields, minor, body: Vec::new() };
                match request.check_host() {
                    Ok(()) => Ok(request),
                    Err(violation) => {
                        request.release(io);
                        Err(violation)
                    }
                }
            }
            Err(violation) => {
                io.buffers.give_back(text);
                Err(violation)
            }
        }
    }

    #[expect(clippy::type_complexity, reason = "taken apart at once by the only caller")]
    fn spans(
        parsed: &httparse::Request<'_, '_>,
        text: &[u8],
        limits: &Limits,
        buffers: &mut Buffers,
    ) -> Result<(Span, Span, Vec<(Span, Span)>, u8), Violation> {
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Violation::BadRequestLine);
        };
        if target.len() > limits.max_target {
            return Err(Violation::TargetTooLong { limit: limits.max_target });
        }
        if parsed.headers.len() > limits.max_headers {
            return Err(Violation::TooManyHeaders { limit: limits.max_headers });
        }
        // RFC 9112 3.2.4: the asterisk is for OPTIONS alone.
        let path = origin_form(target).filter(|path| *path != "*" || method == "OPTIONS");
        let path = path.ok_or(Violation::BadTarget)?;
        let mut fields = Vec::new();
        let size = parsed.headers.len() * size_of::<(Span, Span)>();
        fields.try_reserve_exact(parsed.headers.len()).map_err(|_| buffers.short_of(size))?;
        buffers.charge(size_of_fields(&fields))?;
        let spans =
            |field: &httparse::Header<'_>| (Span::of(field.name.as_bytes(), text), Span::of(trim(field.value), text));
        fields.extend(parsed.headers.iter().map(spans));
        Ok((Span::of(method.as_bytes(), text), Span::of(path.as_bytes(), text), fields, minor))
    }

    /// RFC 9112 3.2: exactly one Host, at least from HTTP/1.1 on.
    fn check_host(&self) -> Result<(), Violation> {
        let mut hosts = self.values("Host");
        match (hosts.next(), hosts.next()) {
            (None, _) if self.is_old() => Ok(()),
            (None, _) => Err(Violation::MissingHost),
            (Some(_), Some(_)) => Err(Violation::RepeatedHost),
            (Some(host), None) if host.iter().all(|byte| is_host_byte(*byte)) => Ok(()),
            (Some(_), None) => Err(Violation::BadHost),
        }
    }

    /// How this request's body is framed (RFC 9112 6.3); what two readers could read differently is refused.
    pub(crate) fn framing(&self, limits: &Limits) -> Result<Framing, Violation> {
        let mut codings = self.values("transfer-encoding");
        let mut lengths = self.values("content-length");
        match (codings.next(), lengths.next()) {
            (None, None) => Ok(Framing::None),
            (Some(_), Some(_)) => Err(Violation::LengthAndCoding),
            (Some(coding), None) => {
                if self.is_old() || codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
                    return Err(Violation::UnknownCoding);
                }
                Ok(Framing::Chunked)
            }
            (None, Some(length)) => {
                let digits = length.iter().all(u8::is_ascii_digit) && !length.is_empty();
                if lengths.next().is_some() || !digits {
                    return Err(Violation::BadContentLength);
                }
                let length = str::from_utf8(length).unwrap_or_default().parse().unwrap_or(usize::MAX);
                match length {
                    0 => Ok(Framing::None),
                    length if length > limits.max_body => Err(Violation::BodyTooLong { limit: limits.max_body }),
                    length => Ok(Framing::Length(length)),
                }
            }
        }
    }

    fn bytes(&self, span: Span) -> &[u8] {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    fn str(&self, span: Span) -> &str {
        str::from_utf8(self.bytes(span)).unwrap_or_default()
    }
}

pub(crate) fn has_token<'a>(mut values: impl Iterator<Item = &'a [u8]>, token: &str) -> bool {
    let in_list = |value: &[u8]| value.split(|byte| *byte == b',').any(|part| is_same(trim(part), token));
    // Mostly there is one.
    values.any(|value| is_same(value, token) || in_list(value))
}

/// Whether they are the same in any case. Where `word` is as most peers write it, that is seen at once.
fn is_same(bytes: &[u8], word: &str) -> bool {
    bytes == word.as_bytes() || bytes.eq_ignore_ascii_case(word.as_bytes())
}

pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

/// RFC 9110 5.6.2.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The path and query of a target in one of the forms of RFC 9112 3.2 that a server meets here.
fn origin_form(target: &str) -> Option<&str> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) || target.contains('#') {
        return None;
    }
    if target == "*" || target.starts_with('/') {
        return Some(target);
    }
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    rest.find(['/', '?']).and_then(|at| rest.get(at..)).filter(|path| path.starts_with('/'))
}

/// Whether `target` can stand in a request of ours: a path with its query.
pub(crate) fn is_path(target: &str) -> bool {
    target.starts_with('/') && origin_form(target).is_some()
}

/// Whether `authority` can stand in a Host of ours.
pub(crate) fn is_authority(authority: &str) -> bool {
    !authority.is_empty() && authority.bytes().all(is_host_byte)
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]!$&'()*+,;=%".contains(&byte)
}

/// httparse's verdict, as the rule that was broken.
pub(crate) fn violation(error: httparse::Error, limits: &Limits) -> Violation {
    match error {
        httparse::Error::TooManyHeaders => Violation::TooManyHeaders { limit: limits.max_headers.min(MOST_HEADERS) },
        httparse::Error::Version => Violation::BadVersion,
        httparse::Error::Token => Violation::BadRequestLine,
        httparse::Error::Status => Violation::BadStatusLine,
        httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine => Violation::BadHeader,
    }
}

/// What the head of an answer says about its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This many bytes follow.
    Length(usize),
    /// Pieces follow, chunked.
    Chunked,
    /// Pieces follow, ended by the end of the connection (HTTP/1.0).
    UntilEnd,
    /// There can be none (RFC 9110 6.4.1).
    Bodiless,
}

/// Header names that belong to the framing of the answer, and so to dari.
const OURS: [&str; 4] = ["content-length", "transfer-encoding", "connection", "upgrade"];

/// Checks headers that the caller wants to send: nothing that could end a line early gets out.
pub(crate) fn check_headers(headers: &[(&str, &str)], ours: &[&str]) -> Result<(), Misuse> {
    for (name, value) in headers {
        let clean = value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 127));
        if !is_token(name.as_bytes()) || !clean || ours.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            return Err(Misuse::Header((*name).to_owned()));
        }
    }
    Ok(())
}

/// The same for an answer, whose framing is dari's.
pub(crate) fn check_answer(status: u16, headers: &[(&str, &str)]) -> Result<(), Misuse> {
    if !(200..=599).contains(&status) {
        return Err(Misuse::Status(status));
    }
    check_headers(headers, &OURS)
}

/// Appends the head of an answer.
pub(crate) fn write_head(
    out: &mut dyn Output,
    status: u16,
    headers: &[(&str, &str)],
    answer: Answer,
    keep_alive: bool,
) {
    let text = out.buffer();
    let mut put = |parts: &[&str]| parts.iter().for_each(|part| text.extend_from_slice(part.as_bytes()));
    put(&["HTTP/1.1 ", &status.to_string(), " ", status_reason(status), "\r\n"]);
    headers.iter().for_each(|(name, value)| put(&[name, ": ", value, "\r\n"]));
    match answer {
        Answer::Length(len) => put(&["Content-Length: ", &len.to_string(), "\r\n"]),
        Answer::Chunked => put(&["Transfer-Encoding: chunked\r\n"]),
        Answer::UntilEnd | Answer::Bodiless => {}
    }
    // RFC 9110 7.8 and 15.5.22: a 426 names what to upgrade to, and that is a matter of this connection.
    let connection = match (status, keep_alive) {
        (426, true) => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: upgrade\r\n",
        (426, false) => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: upgrade, close\r\n",
        (_, true) => "",
        (_, false) => "Connection: close\r\n",
    };
    put(&[connection]);
    put(&["\r\n"]);
}

/// Appends one chunk; the one of no bytes is the last.
pub(crate) fn write_chunk(out: &mut dyn Output, data: &[u8]) {
    out.buffer().extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    out.payload(data);
    out.buffer().extend_from_slice(b"\r\n");
}

/// The reason phrase of a status (RFC 9110 15).
pub fn status_reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}
