//! The opening handshake (RFC 6455 4): the rules of both sides, and the lines that they write.

use crate::http::{self, Request};
use crate::io::{Io, Output};
use crate::{Buffers, Misuse, Violation};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

/// The length of a Sec-WebSocket-Accept.
pub(crate) const ACCEPT: usize = 28;

/// RFC 6455 1.3: the key and this, hashed, prove that the server has understood.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The Sec-WebSocket-Accept for a Sec-WebSocket-Key.
pub fn accept_key(key: &[u8]) -> [u8; ACCEPT] {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut text = [0; ACCEPT];
    // 20 bytes are 28 characters: this has room, whatever the key was.
    let _ = BASE64_STANDARD.encode_slice(hash, &mut text);
    text
}

/// Whether `request` asks for a WebSocket at all; the rest is then a matter of right and wrong.
pub(crate) fn is_upgrade(request: &Request) -> bool {
    request.has_token("Upgrade", "websocket")
}

/// The rules of RFC 6455 4.2.1 for an opening handshake.
pub(crate) fn check_upgrade(request: &Request, buffers: &Buffers) -> Result<(), Violation> {
    if request.method() != "GET" {
        return Err(Violation::UpgradeNotGet);
    }
    if request.is_old() {
        return Err(Violation::UpgradeOldHttp);
    }
    if !request.has_token("Connection", "Upgrade") {
        return Err(Violation::MissingConnectionUpgrade);
    }
    match single(request, "Sec-WebSocket-Version") {
        Err(Many) => return Err(Violation::RepeatedVersion),
        Ok(None) => return Err(Violation::MissingVersion),
        Ok(Some(b"13")) => {}
        Ok(Some(_)) => return Err(Violation::OtherVersion),
    }
    match single(request, "Sec-WebSocket-Key") {
        Err(Many) => return Err(Violation::RepeatedKey),
        Ok(None) => return Err(Violation::MissingKey),
        Ok(Some(key)) if is_key(key) => {}
        Ok(Some(_)) => return Err(Violation::BadKey),
    }
    let mut protocols: Vec<&[u8]> = Vec::new();
    let count = protocol_list(request).count();
    protocols.try_reserve_exact(count).map_err(|_| buffers.short_of(count * size_of::<&[u8]>()))?;
    protocols.extend(protocol_list(request));
    // In order, so that those which stand there twice stand together.
    protocols.sort_unstable();
    let repeats = protocols.windows(2).any(|pair| pair.first() == pair.last());
    if repeats || !protocols.iter().all(|name| http::is_token(name)) {
        return Err(Violation::BadProtocolList);
    }
    Ok(())
}

/// RFC 6455 4.1: a key is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    // Room for what 24 characters may come to; what is longer is no key.
    BASE64_STANDARD.decode_slice(key, &mut [0; 18]) == Ok(16)
}

/// The subprotocols that an opening handshake offers, in its order of preference.
pub fn offered(request: &Request) -> impl Iterator<Item = &str> {
    protocol_list(request).filter_map(|name| str::from_utf8(name).ok())
}

/// Whether a page of this Origin (RFC 6454) comes from the host that the request was sent to.
///
/// It is http or https, whichever of them: a proxy in front may have taken TLS off; a port that is not named is the
/// default one of the origin's scheme on both sides.
pub fn is_same_origin(origin: &[u8], host: &[u8]) -> bool {
    let (Ok(origin), Ok(host)) = (str::from_utf8(origin), str::from_utf8(host)) else { return false };
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => "80",
        _ if scheme.eq_ignore_ascii_case("https") => "443",
        _ => return false,
    };
    let (name, port) = host_and_port(authority, default);
    let (other, other_port) = host_and_port(host, default);
    !authority.is_empty() && name.eq_ignore_ascii_case(other) && port == other_port
}

fn host_and_port<'a>(authority: &'a str, default: &'a str) -> (&'a str, &'a str) {
    match authority.rsplit_once(':') {
        Some((name, "")) => (name, default),
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (authority, default),
    }
}

/// Appends the answer that opens the connection (RFC 6455 4.2.2).
pub(crate) fn write_accept(
    request: &Request,
    protocol: Option<&str>,
    extension: Option<&str>,
    headers: &[(&str, &str)],
    io: &mut Io<'_>,
) -> Result<(), Misuse> {
    http::check_headers(headers, &RESERVED)?;
    if let Some(protocol) = protocol
        && !offered(request).any(|offered| offered == protocol)
    {
        return Err(Misuse::ProtocolNotOffered(protocol.to_owned()));
    }
    let key = request.header("Sec-WebSocket-Key", 0).unwrap_or_default();
    let text = io.out.buffer();
    text.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    text.extend_from_slice(b"Sec-WebSocket-Accept: ");
    text.extend_from_slice(&accept_key(key));
    text.extend_from_slice(b"\r\n");
    if let Some(protocol) = protocol {
        write_line(text, "Sec-WebSocket-Protocol", protocol);
    }
    if let Some(extension) = extension {
        write_line(text, "Sec-WebSocket-Extensions", extension);
    }
    headers.iter().for_each(|(name, value)| write_line(text, name, value));
    text.extend_from_slice(b"\r\n");
    Ok(())
}

/// Header names that the handshake itself writes.
pub(crate) const RESERVED: [&str; 10] = [
    "upgrade",
    "connection",
    "host",
    "content-length",
    "transfer-encoding",
    "sec-websocket-accept",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];

pub(crate) fn write_line(text: &mut Vec<u8>, name: &str, value: &str) {
    [name, ": ", value, "\r\n"].iter().for_each(|part| text.extend_from_slice(part.as_bytes()));
}

/// Appends an answer that nobody asked for, and the last one.
pub(crate) fn write_plain(out: &mut dyn Output, status: u16, body: &[u8]) {
    let headers = [("Content-Type", "text/plain; charset=utf-8")];
    http::write_head(out, status, &headers, http::Answer::Length(body.len()), false);
    out.buffer().extend_from_slice(body);
}

/// Appends a refusal that the peer's own fault brought about: the rule is the body.
pub(crate) fn write_refusal(out: &mut dyn Output, violation: Violation) {
    let body = format!("{violation}\n");
    let mut headers = vec![("Content-Type", "text/plain; charset=utf-8")];
    if violation.code() == 405 {
        headers.push(("Allow", "GET"));
    }
    // The memory for the head is gone, say: that is a server's trouble, and no close code.
    let status = if violation.code() < 1000 { violation.code() } else { 503 };
    http::write_head(out, status, &headers, http::Answer::Length(body.len()), false);
    out.buffer().extend_from_slice(body.as_bytes());
}

struct Many;

fn single<'a>(request: &'a Request, name: &'a str) -> Result<Option<&'a [u8]>, Many> {
    let mut values = request.values(name);
    let first = values.next();
    if values.next().is_some() { Err(Many) } else { Ok(first) }
}

fn protocol_list(request: &Request) -> impl Iterator<Item = &[u8]> {
    request.values("sec-websocket-protocol").flat_map(|value| value.split(|byte| *byte == b',')).map(http::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_gives_the_accept_of_the_rfc() {
        // RFC 6455 1.3.
        assert_eq!(&accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn same_origin_compares_host_and_port() {
        let same = |origin: &str, host: &str| is_same_origin(origin.as_bytes(), host.as_bytes());
        assert!(same("http://127.0.0.1:9001", "127.0.0.1:9001"));
        assert!(same("https://Example.com", "example.com"));
        assert!(same("https://example.com", "example.com:443"));
        assert!(same("http://[::1]:9001", "[::1]:9001"));
        assert!(same("http://[::1]", "[::1]:80"));
        assert!(!same("http://evil.example", "example.com"));
        assert!(!same("http://example.com.evil", "example.com"));
        assert!(!same("http://127.0.0.1:9002", "127.0.0.1:9001"));
        assert!(!same("null", "example.com"));
        assert!(!same("xhttp://example.com", "example.com"));
        assert!(!same("http://", ""));
    }
}
