//! WebSocket URLs (RFC 6455 3): `ws://host:port/path?query`, read strictly, errors with what and where.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address that needs no resolving.
    Address(IpAddr),
    /// A name, in lower case.
    Name(String),
}

/// A WebSocket URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `wss`, or `https`.
    pub tls: bool,
    /// The host.
    pub host: Host,
    /// The port; 80 or 443 if the URL names none.
    pub port: u16,
    /// Path and query: at least `/`.
    pub target: String,
    /// What the header Host says: the port only where it is not the default one.
    pub authority: String,
}

/// Why a text is not a WebSocket URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUrl {
    /// What is wrong.
    pub what: &'static str,
    /// Where it begins, in bytes.
    pub at: usize,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.what, self.at)
    }
}

impl std::error::Error for BadUrl {}

impl Url {
    /// Reads a URL. The WHATWG standard's http and https count as ws and wss.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let bad = |what, at| Err(BadUrl { what, at });
        if let Some(at) = text.bytes().position(|byte| !byte.is_ascii_graphic()) {
            return bad("a URL has no spaces, control or non-ASCII characters: percent-encode them", at);
        }
        let Some((scheme, rest)) = text.split_once("://") else { return bad("a URL begins with ws:// or wss://", 0) };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return bad("the scheme is neither ws nor wss", 0),
        };
        let start = scheme.len() + 3;
        if let Some(at) = rest.find('#') {
            return bad("a WebSocket URL has no fragment (RFC 6455 3)", start + at);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return bad("a user name or password in a URL is not supported", start);
        }
        let (host, port) = split_port(authority, start)?;
        let default = if tls { 443 } else { 80 };
        let port = port.unwrap_or(default);
        let (host, name) = read_host(host, start)?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let authority = if port == default { name } else { format!("{name}:{port}") };
        Ok(Self { tls, host, port, target, authority })
    }
}

fn split_port(authority: &str, start: usize) -> Result<(&str, Option<u16>), BadUrl> {
    let Some((host, port)) = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) else {
        return Ok((authority, None));
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port @ 1..) if digits => Ok((host, Some(port))),
        _ => Err(BadUrl { what: "the port is not a number from 1 to 65535", at: start + host.len() + 1 }),
    }
}

/// The host, and how the header Host spells it.
fn read_host(text: &str, at: usize) -> Result<(Host, String), BadUrl> {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let Ok(address) = inner.parse::<Ipv6Addr>() else {
            return Err(BadUrl { what: "what stands in brackets is not an IPv6 address", at: at + 1 });
        };
        return Ok((Host::Address(address.into()), format!("[{address}]")));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if text.is_empty() || text.len() > 253 || !text.bytes().all(is_name) {
        return Err(BadUrl { what: "the host is neither a name nor an address", at });
    }
    let name = text.to_ascii_lowercase();
    let host = name.parse().map_or_else(|_| Host::Name(name.clone()), |address| Host::Address(IpAddr::V4(address)));
    Ok((host, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = Url::parse("ws://127.0.0.1:9001/chat?room=1").unwrap();
        assert_eq!((url.tls, url.port, url.target.as_str()), (false, 9001, "/chat?room=1"));
        assert_eq!(url.host, Host::Address([127, 0, 0, 1].into()));
        assert_eq!(url.authority, "127.0.0.1:9001");
        let url = Url::parse("WSS://Example.com?x").unwrap();
        assert_eq!((url.tls, url.port, url.target.as_str()), (true, 443, "/?x"));
        assert_eq!((url.host, url.authority.as_str()), (Host::Name("example.com".into()), "example.com"));
        let url = Url::parse("ws://[::1]:80").unwrap();
        assert_eq!((url.target.as_str(), url.authority.as_str()), ("/", "[::1]"));
        assert_eq!(Url::parse("http://a:8080").unwrap().authority, "a:8080");
    }

    #[test]
    fn bad_urls_say_what_and_where() {
        let bad = |text: &str| Url::parse(text).map(|_| ()).unwrap_err().at;
        assert_eq!(bad("example.com"), 0);
        assert_eq!(bad("ftp://example.com"), 0);
        assert_eq!(bad("ws://a/#b"), 7);
        assert_eq!(bad("ws://a b/"), 6);
        assert_eq!(bad("ws://a:0/"), 7);
        assert_eq!(bad("ws://a:65536/"), 7);
        assert_eq!(bad("ws://a:+1/"), 7);
        assert_eq!(bad("ws:///"), 5);
        assert_eq!(bad("ws://[::1/"), 5);
        assert_eq!(bad("ws://[x]/"), 6);
        assert_eq!(bad("ws://u:p@a/"), 5);
    }
}
