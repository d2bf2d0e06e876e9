//! WebSocket URLs (RFC 6455 3): `ws://user:password@host:port/path?query`, and `ws+unix:/path:/target` for unix
//! sockets.
//!
//! Read strictly, since two readers who take a doubtful URL to different hosts are a hole: what other programs
//! would read in several ways is an error here, with what and where.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

const ENCODE: &str = "a URL has no spaces, control or non-ASCII characters: percent-encode them";
const FRAGMENT: &str = "a WebSocket URL has no fragment (RFC 6455 3): a # in a path or query is written %23";

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address that needs no resolving.
    Address(IpAddr),
    /// A name, in lower case.
    Name(String),
    /// A unix socket, as the system names it: a path, or NUL and an abstract name.
    Unix(Vec<u8>),
}

/// As a header spells it: IPv6 in brackets, `localhost` for a unix socket.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => f.write_str(name),
            Self::Unix(_) => f.write_str("localhost"),
        }
    }
}

/// Who logs in. The password stays out of `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name, percent-decoded.
    pub user: Vec<u8>,
    /// The password, percent-decoded.
    pub password: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?})", String::from_utf8_lossy(&self.user))
    }
}

impl Login {
    /// The value of `Authorization` or `Proxy-Authorization` (RFC 7617).
    pub fn basic(&self) -> String {
        let both = [&self.user[..], b":", &self.password].concat();
        format!("Basic {}", BASE64_STANDARD.encode(both))
    }
}

/// The part of a URL that says who, where and at which port (RFC 3986 3.2): `user:password@host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// What stands before the `@`; nothing if both are empty.
    pub login: Option<Login>,
    /// The host.
    pub host: Host,
    /// The port, if one is named.
    pub port: Option<u16>,
}

/// A WebSocket URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `wss`, or `https`.
    pub tls: bool,
    /// The host.
    pub host: Host,
    /// The port; 80 or 443 if the URL names none, 0 for a unix socket.
    pub port: u16,
    /// Path and query: at least `/`.
    pub target: String,
    /// What the header Host says: the port only where it is not the default one.
    pub authority: String,
    /// Who logs in.
    pub login: Option<Login>,
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

fn bad<T>(what: &'static str, at: usize) -> Result<T, BadUrl> {
    Err(BadUrl { what, at })
}

impl Url {
    /// Reads a URL. The WHATWG standard's http and https count as ws and wss.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let (scheme, rest) = text.split_once(':').unwrap_or_default();
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            "ws+unix" => return unix(rest, scheme.len() + 1),
            _ => return bad("a URL begins with ws://, wss:// or ws+unix:", 0),
        };
        let start = scheme.len() + 3;
        let Some(rest) = rest.strip_prefix("//") else { return bad("the scheme is followed by //", start - 2) };
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let target = read_target(target, start + authority.len())?;
        let Authority { login, host, port } = Authority::parse(authority, start)?;
        let default = if tls { 443 } else { 80 };
        let port = port.unwrap_or(default);
        let authority = if port == default { host.to_string() } else { format!("{host}:{port}") };
        Ok(Self { tls, host, port, target, authority, login })
    }
}

/// Path and query, as they are sent.
fn read_target(text: &str, at: usize) -> Result<String, BadUrl> {
    match text.bytes().position(|byte| byte == b'#' || !byte.is_ascii_graphic()) {
        Some(i) if text.as_bytes().get(i) == Some(&b'#') => bad(FRAGMENT, at + i),
        Some(i) => bad(ENCODE, at + i),
        None if text.starts_with('/') => Ok(text.to_owned()),
        None => Ok(format!("/{text}")),
    }
}

/// What stands behind `ws+unix:`, as Node's `ws` has it: `/path:/target`; and `@name:/target` for an abstract one.
fn unix(text: &str, at: usize) -> Result<Url, BadUrl> {
    // With an authority, it is an empty one.
    let (text, at) = text.strip_prefix("//").map_or((text, at), |rest| (rest, at + 2));
    let (path, target) = text.split_once(':').unwrap_or((text, ""));
    let behind = at + path.len() + 1;
    if let Some(i) = path.find('?') {
        return bad("a query goes behind the socket and a colon: ws+unix:/path:/?query", at + i);
    }
    read_target(path, at)?;
    let (mut socket, name, first) = match path.strip_prefix('@') {
        Some(name) => (vec![0], name, at + 1),
        None if path.starts_with('/') => (Vec::new(), path, at),
        None => return bad("ws+unix: is followed by the path of a socket, /path, or by @name", at),
    };
    if name.is_empty() {
        return bad("an abstract socket has a name behind the @", first);
    }
    socket.extend(percent_decode(name, first, |byte| byte == 0, "the name of a socket has no NUL")?);
    if !matches!(target.bytes().next(), None | Some(b'/' | b'?' | b'#')) {
        return bad("what follows the socket and the colon begins with /", behind);
    }
    let (host, target) = (Host::Unix(socket), read_target(target, behind)?);
    let authority = host.to_string();
    Ok(Url { tls: false, host, port: 0, target, authority, login: None })
}

impl Authority {
    /// Reads one; `at` is where it begins in what the user wrote.
    pub fn parse(text: &str, at: usize) -> Result<Self, BadUrl> {
        let (login, place, at) = match text.split_once('@') {
            Some((login, place)) => (Login::parse(login, at)?, place, at + login.len() + 1),
            None => (None, text, at),
        };
        if let Some(i) = place.find('@') {
            return bad("an @ in a user name or password is written %40", at + i);
        }
        let (host, rest) = match place.strip_prefix('[').map(|inner| inner.split_once(']')) {
            Some(Some((inner, rest))) => {
                let Ok(address) = inner.parse::<Ipv6Addr>() else {
                    return bad("what stands in brackets is not an IPv6 address", at + 1);
                };
                (Host::Address(address.into()), rest)
            }
            Some(None) => return bad("the bracket is not closed", at),
            None => {
                let (name, rest) = place.split_at(place.find(':').unwrap_or(place.len()));
                if rest.bytes().filter(|byte| *byte == b':').count() > 1 {
                    return bad("an IPv6 address stands in brackets, [::1], and else there is one colon", at);
                }
                (read_name(name, at)?, rest)
            }
        };
        let port = read_port(rest, at + place.len() - rest.len())?;
        Ok(Self { login, host, port })
    }
}

impl Login {
    fn parse(text: &str, at: usize) -> Result<Option<Self>, BadUrl> {
        // RFC 3986 3.2.1. Nobody agrees on what a backslash means here, for one.
        let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%".contains(&byte);
        if let Some(i) = text.bytes().position(|byte| !may_stand(byte)) {
            return bad("this character of a user name or password has to be percent-encoded", at + i);
        }
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        // RFC 7617 2.
        let (no_user, no_control) = ("a user name has no colons and no control characters", "a password has none");
        let user_bytes = percent_decode(user, at, |byte| byte == b':' || byte.is_ascii_control(), no_user)?;
        let password_at = at + user.len() + 1;
        let password = percent_decode(password, password_at, |byte| byte.is_ascii_control(), no_control)?;
        Ok((!user_bytes.is_empty() || !password.is_empty()).then_some(Self { user: user_bytes, password }))
    }
}

/// The bytes that a text stands for; `refused` ones are an error.
fn percent_decode(text: &str, at: usize, refused: impl Fn(u8) -> bool, why: &'static str) -> Result<Vec<u8>, BadUrl> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes().enumerate();
    while let Some((i, byte)) = rest.next() {
        let mut digit = || rest.next().and_then(|(_, byte)| char::from(byte).to_digit(16));
        let byte = match byte {
            b'%' => match (digit(), digit()) {
                (Some(high), Some(low)) => u8::try_from(high << 4 | low).unwrap_or_default(),
                _ => return bad("a % is followed by two hexadecimal digits", at + i),
            },
            byte => byte,
        };
        if refused(byte) {
            return bad(why, at + i);
        }
        bytes.push(byte);
    }
    Ok(bytes)
}

fn read_port(text: &str, at: usize) -> Result<Option<u16>, BadUrl> {
    let Some(port) = text.strip_prefix(':') else {
        return if text.is_empty() { Ok(None) } else { bad("behind the bracket comes a colon and a port", at) };
    };
    match port.parse() {
        _ if port.is_empty() => Ok(None),
        Ok(port @ 1..) if !text.contains('+') => Ok(Some(port)),
        _ => bad("the port is not a number from 1 to 65535", at + 1),
    }
}

/// A name or an IPv4 address.
fn read_name(text: &str, at: usize) -> Result<Host, BadUrl> {
    let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if let Some((i, byte)) = text.bytes().enumerate().find(|(_, byte)| !may_stand(*byte)) {
        let what = if byte.is_ascii() {
            "a host name holds letters, digits and - . _ only"
        } else {
            "a host name that is not ASCII is written in punycode, xn--...: dari does not translate it"
        };
        return bad(what, at + i);
    }
    if text.is_empty() {
        return bad("the host is missing", at);
    }
    let name = text.to_ascii_lowercase();
    if let Ok(address) = name.parse() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    // The dot at the end says that a name is whole.
    let mut labels = name.strip_suffix('.').unwrap_or(&name).split('.');
    if name.len() > 253 || labels.clone().any(|label| label.is_empty() || label.len() > 63) {
        return bad("a host name has at most 253 bytes, and 1 to 63 between its dots", at);
    }
    // As WHATWG has it: such a "name" is an address to some readers (127.1, 0x7f000001), and a name to none.
    let is_number = |label: &str| match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if labels.next_back().is_some_and(is_number) {
        return bad("a host that ends in a number is an IPv4 address: four numbers from 0 to 255", at);
    }
    Ok(Host::Name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;
    use proptest::prelude::*;

    fn parse(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|bad| panic!("{text}: {bad}"))
    }

    #[test]
    fn urls_are_taken_apart() {
        let url = parse("ws://127.0.0.1:9001/chat?room=1");
        assert_eq!((url.tls, url.port, url.target.as_str()), (false, 9001, "/chat?room=1"));
        assert_eq!(url.host, Host::Address([127, 0, 0, 1].into()));
        assert_eq!((url.authority.as_str(), url.login), ("127.0.0.1:9001", None));
        let url = parse("WSS://Example.com?x");
        assert_eq!((url.tls, url.port, url.target.as_str()), (true, 443, "/?x"));
        assert_eq!((url.host, url.authority.as_str()), (Host::Name("example.com".into()), "example.com"));
        let url = parse("ws://[::1]:80");
        assert_eq!((url.target.as_str(), url.authority.as_str()), ("/", "[::1]"));
        assert_eq!(parse("http://a:8080").authority, "a:8080");
        assert_eq!(parse("ws://a.:/").authority, "a.");
        assert_eq!(parse("ws://1.0xyz.1a").host, Host::Name("1.0xyz.1a".into()));
        assert_eq!(parse("ws://xn--bcher-kva.example/%C3%BC").target, "/%C3%BC");
        assert_eq!(parse("ws://a/x:y@z//..").target, "/x:y@z//..");
    }

    #[test]
    fn the_header_host_has_no_default_port() {
        let authority = |text| parse(text).authority;
        assert_eq!((authority("ws://a:80"), authority("wss://a:443")), ("a".into(), "a".into()));
        assert_eq!((authority("ws://a:443"), authority("wss://a:80")), ("a:443".into(), "a:80".into()));
        assert_eq!(
            (authority("https://[::1]:443"), authority("https://[::1]:1")),
            ("[::1]".into(), "[::1]:1".into())
        );
        assert_eq!(authority("ws://[2001:DB8:0:0::1]"), "[2001:db8::1]");
    }

    #[test]
    fn who_logs_in_becomes_basic_authorization() {
        let basic = |text| parse(text).login.map(|login| login.basic());
        // RFC 7617 2 and 2.1.
        assert_eq!(basic("ws://Aladdin:open%20sesame@a").as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(basic("wss://test:123%C2%A3@a/x@y").as_deref(), Some("Basic dGVzdDoxMjPCow=="));
        assert_eq!(basic("ws://me@a"), basic("ws://me:@a"));
        assert_eq!(basic("ws://me:a:b@a"), basic("ws://me:a%3Ab@a"));
        assert_eq!((basic("ws://@a"), basic("ws://:@a")), (None, None));
        assert_eq!(basic("ws://:p@a").as_deref(), Some("Basic OnA="));
        let url = parse("ws://me:secret@a:1/");
        assert_eq!((url.authority.as_str(), url.port), ("a:1", 1));
        assert!(!format!("{url:?}").contains("secret"));
    }

    #[test]
    fn unix_sockets_are_named_by_path_or_by_name() {
        let unix = |text| {
            let Url { host: Host::Unix(socket), target, authority, tls: false, port: 0, .. } = parse(text) else {
                panic!("{text} is no unix socket");
            };
            assert_eq!(authority, "localhost");
            (String::from_utf8(socket).unwrap(), target)
        };
        let both = |socket: &str, target: &str| (socket.to_owned(), target.to_owned());
        assert_eq!(unix("ws+unix:/run/a.sock:/chat?room=1:2"), both("/run/a.sock", "/chat?room=1:2"));
        assert_eq!(unix("WS+UNIX:///run/a.sock"), both("/run/a.sock", "/"));
        assert_eq!(unix("ws+unix:/run/a.sock:"), both("/run/a.sock", "/"));
        assert_eq!(unix("ws+unix:/run/a%20%3a%C3%A9:?x"), both("/run/a :é", "/?x"));
        assert_eq!(unix("ws+unix:@name:/x"), both("\0name", "/x"));
    }

    #[test]
    fn bad_urls_say_what_and_where() {
        let table = [
            ("example.com", "begins with", 0),
            ("ftp://example.com", "begins with", 0),
            (" ws://a", "begins with", 0),
            ("ws:a", "//", 3),
            ("ws:/a", "//", 3),
            ("ws://a/#b", "fragment", 7),
            ("ws://a#b", "fragment", 6),
            ("ws://a/b c", "percent-encode", 8),
            ("ws://a/안", "percent-encode", 7),
            ("ws://a\n", "letters", 6),
            ("ws://a b/", "letters", 6),
            ("ws://a%20b/", "letters", 6),
            ("ws://a\\@b/", "percent-encoded", 6),
            ("ws://안녕.example/", "punycode", 5),
            ("ws://b\u{fc}cher.example/", "punycode", 6),
            ("ws://a:0/", "65535", 7),
            ("ws://a:65536/", "65535", 7),
            ("ws://a:+1/", "65535", 7),
            ("ws://a:x/", "65535", 7),
            ("ws:///", "missing", 5),
            ("ws://:1/", "missing", 5),
            ("ws://u@:1/", "missing", 7),
            ("ws://::1/", "brackets", 5),
            ("ws://[::1/", "not closed", 5),
            ("ws://[x]/", "IPv6", 6),
            ("ws://[fe80::1%25eth0]/", "IPv6", 6),
            ("ws://[::1]x/", "bracket", 10),
            ("ws://u:p@[::1]:y/", "65535", 15),
            ("ws://127.1/", "IPv4", 5),
            ("ws://256.0.0.1/", "IPv4", 5),
            ("ws://0x7f000001/", "IPv4", 5),
            ("ws://1.2.3.4.5/", "IPv4", 5),
            ("ws://a.1/", "IPv4", 5),
            ("ws://127.0.0.1./", "IPv4", 5),
            ("ws://a..b/", "dots", 5),
            ("ws://./", "dots", 5),
            ("ws://u@v@a/", "%40", 8),
            ("ws://u:p%@a/", "hexadecimal", 8),
            ("ws://u%4g@a/", "hexadecimal", 6),
            ("ws://u%3Av:p@a/", "colons", 6),
            ("ws://u:%0a@a/", "none", 7),
            ("ws://u:p@a:b@c/", "%40", 12),
            ("ws+unix:", "path of a socket", 8),
            ("ws+unix:run/a:/", "path of a socket", 8),
            ("ws+unix://host/a:/", "path of a socket", 10),
            ("ws+unix:@:/x", "name behind", 9),
            ("ws+unix:/a?x:/y", "query", 10),
            ("ws+unix:/a:b", "begins with /", 11),
            ("ws+unix:/a:/b#c", "fragment", 13),
            ("ws+unix:/a#b", "fragment", 10),
            ("ws+unix:/a b", "percent-encode", 10),
            ("ws+unix:/a%00b", "NUL", 10),
        ];
        for (text, what, at) in table {
            let bad = Url::parse(text).expect_err(text);
            assert!(bad.what.contains(what) && bad.at == at, "{text}: {bad}");
        }
        assert_eq!(Url::parse("").unwrap_err().at, 0);
        assert!(Url::parse(&format!("ws://{}/", "a".repeat(64))).is_err());
        assert!(Url::parse(&format!("ws://{}b/", "a.".repeat(127))).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_read_can_be_asked_for(text in "(ws|wss|ws\\+unix)?:?/{0,2}[]a0:@/?#%.\\[é -]{0,24}") {
            match Url::parse(&text) {
                Ok(url) => {
                    prop_assert!(http::is_authority(&url.authority), "{url:?}");
                    prop_assert!(http::is_path(&url.target), "{url:?}");
                }
                Err(bad) => prop_assert!(bad.at <= text.len() && text.is_char_boundary(bad.at), "{bad}"),
            }
        }
    }
}
