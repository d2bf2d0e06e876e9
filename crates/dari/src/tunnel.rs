//! How a proxy is asked for a way through: HTTP CONNECT (RFC 9110 9.3.6) and SOCKS5 (RFC 1928, 1929), bytes in, bytes
//! out. What comes behind the proxy's last word is the server's, and is left where it is.

use crate::Error;
use crate::proxy::{Kind, Proxy};
use dari_core::{Host, Login, status_reason};
use std::net::IpAddr;

/// Bytes that an HTTP proxy may answer with, interim answers included.
const MOST_ANSWER: usize = 16 << 10;

/// A way through that is being asked for.
#[derive(Debug)]
pub(crate) enum Tunnel {
    Http(Http),
    Socks5(Socks5),
}

/// What follows from what the proxy has said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// More has to come.
    More,
    /// Send this, and go on.
    Send(Vec<u8>),
    /// The way is free: what comes from now on is the server's.
    Done,
    /// There is no way.
    Failed(Refusal),
}

/// Why there is no way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// One line of text.
    pub(crate) text: String,
    /// The proxy's HTTP status; of SOCKS5 the status that says the same, 407 or 403; or 0.
    pub(crate) status: u16,
}

fn failed(text: impl Into<String>, status: u16) -> Step {
    Step::Failed(Refusal { text: text.into(), status })
}

impl Tunnel {
    /// Asks `proxy` for the way to a server; what comes with it is to be sent first. It is the proxy who resolves names.
    pub(crate) fn new(proxy: &Proxy, host: &Host, port: u16) -> Result<(Self, Vec<u8>), Error> {
        if matches!(host, Host::Unix(_)) {
            return Err(Error::Argument("a unix socket is not reached through a proxy".to_owned()));
        }
        Ok(match proxy.kind {
            Kind::Http => (Self::Http(Http::default()), Http::request(proxy, host, port)),
            Kind::Socks5 => {
                let login = proxy.login.as_ref();
                let request = Socks5::request(host, port);
                let socks = Socks5 { at: Stage::Method, have: Vec::new(), login: login.map(Socks5::login), request };
                // RFC 1928 3: version, number of methods, no login at all, user name and password.
                (Self::Socks5(socks), if login.is_some() { vec![5, 2, 0, 2] } else { vec![5, 1, 0] })
            }
        })
    }

    /// Takes what belongs to the proxy's answers off the front of `input`.
    pub(crate) fn receive(&mut self, input: &mut &[u8]) -> Step {
        match self {
            Self::Http(http) => http.receive(input),
            Self::Socks5(socks) => socks.receive(input),
        }
    }

    /// The proxy has ended the connection before that.
    pub(crate) fn ended() -> Refusal {
        Refusal { text: "the proxy ended the connection before it had answered".to_owned(), status: 0 }
    }
}

/// Waits for the answer to CONNECT.
#[derive(Debug, Default)]
pub(crate) struct Http {
    /// Of this answer.
    head: Vec<u8>,
    /// Bytes of interim answers before it.
    passed: usize,
}

impl Http {
    fn request(proxy: &Proxy, host: &Host, port: u16) -> Vec<u8> {
        let mut text = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        if let Some(login) = &proxy.login {
            text += &format!("Proxy-Authorization: {}\r\n", login.basic());
        }
        (text + "\r\n").into_bytes()
    }

    fn receive(&mut self, input: &mut &[u8]) -> Step {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            if self.head.try_reserve(1).is_err() {
                return failed("there is no memory for the proxy's answer", 0);
            }
            self.head.push(*byte);
            if !b"HTTP/1.".starts_with(&self.head[..self.head.len().min(7)]) {
                return failed("what answers is no HTTP proxy", 0);
            }
            if self.passed + self.head.len() > MOST_ANSWER {
                return failed(format!("the proxy's answer is longer than {MOST_ANSWER} bytes"), 0);
            }
            if self.head.ends_with(b"\n\r\n") || self.head.ends_with(b"\n\n") {
                match status(&self.head) {
                    None => return failed("the proxy's answer has no HTTP status", 0),
                    Some(100 | 102..=199) => self.passed += std::mem::take(&mut self.head).len(),
                    // RFC 9110 9.3.6: any of them; and whatever it says of a body, there is none.
                    Some(200..=299) => return Step::Done,
                    Some(status) => {
                        let reason = Some(status_reason(status)).filter(|reason| *reason != status_reason(0));
                        let text = format!("the proxy answered {status} {}", reason.unwrap_or_default());
                        return failed(text.trim_end(), status);
                    }
                }
            }
        }
        Step::More
    }
}

/// The status of `HTTP/1.1 200 Whatever`.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\n').next()?.trim_ascii_end();
    let (digits, rest) = line.get(9..)?.split_at_checked(3)?;
    let is_apart = line[7].is_ascii_digit() && line[8] == b' ' && matches!(rest.first(), None | Some(b' '));
    let status = str::from_utf8(digits).ok().filter(|_| is_apart)?;
    status.parse().ok().filter(|status| (100..600).contains(status))
}

/// Goes through the rounds of SOCKS5.
pub(crate) struct Socks5 {
    at: Stage,
    /// Of the answer that is waited for.
    have: Vec<u8>,
    /// To be sent if the proxy wants it.
    login: Option<Vec<u8>>,
    request: Vec<u8>,
}

/// Without the password.
impl std::fmt::Debug for Socks5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Socks5({:?})", self.at)
    }
}

/// Which answer is waited for.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Method,
    Login,
    Request,
}

impl Socks5 {
    /// RFC 1929 2. The lengths were checked when the proxy was read.
    fn login(login: &Login) -> Vec<u8> {
        let len = |part: &[u8]| u8::try_from(part.len()).unwrap_or(u8::MAX);
        let mut bytes = vec![1, len(&login.user)];
        bytes.extend_from_slice(&login.user);
        bytes.push(len(&login.password));
        bytes.extend_from_slice(&login.password);
        bytes
    }

    /// RFC 1928 4: connect.
    fn request(host: &Host, port: u16) -> Vec<u8> {
        let mut bytes = vec![5, 1, 0];
        match host {
            Host::Address(IpAddr::V4(address)) => {
                bytes.push(1);
                bytes.extend(address.octets());
            }
            Host::Address(IpAddr::V6(address)) => {
                bytes.push(4);
                bytes.extend(address.octets());
            }
            Host::Name(_) | Host::Unix(_) => {
                // A name has at most 253 bytes.
                let name = host.to_string();
                bytes.extend([3, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
                bytes.extend(name.as_bytes());
            }
        }
        bytes.extend(port.to_be_bytes());
        bytes
    }

    fn receive(&mut self, input: &mut &[u8]) -> Step {
        // Every answer tells in its second byte whether it is a yes.
        if !self.fill(2, input) {
            return Step::More;
        }
        let (first, second) = (self.have[0], self.have[1]);
        match self.at {
            Stage::Method | Stage::Request if first != 5 => failed("what answers is no SOCKS5 proxy", 0),
            Stage::Method => match (second, self.login.take()) {
                (0, _) => self.send(Stage::Request),
                (2, Some(login)) => {
                    (self.at, self.have) = (Stage::Login, Vec::new());
                    Step::Send(login)
                }
                (0xff, None) => failed("the proxy wants a user name and a password", 407),
                (0xff, Some(_)) => failed("the proxy takes no user name and password", 407),
                _ => failed("the proxy chose a way to log in that was not offered", 0),
            },
            // RFC 1929 2. The version, which comes first, is told in several ways.
            Stage::Login if second == 0 => self.send(Stage::Request),
            Stage::Login => failed("the proxy refused the user name or the password", 407),
            Stage::Request if second != 0 => refused(second),
            Stage::Request => self.end(input),
        }
    }

    fn send(&mut self, next: Stage) -> Step {
        (self.at, self.have) = (next, Vec::new());
        Step::Send(std::mem::take(&mut self.request))
    }

    /// RFC 1928 6: behind the yes comes an address of the proxy's, that nobody needs.
    fn end(&mut self, input: &mut &[u8]) -> Step {
        if !self.fill(5, input) {
            return Step::More;
        }
        let len = match self.have[3] {
            1 => 10,
            3 => 7 + usize::from(self.have[4]),
            4 => 22,
            _ => return failed("the proxy's answer has an address of a kind that is not known", 0),
        };
        if self.fill(len, input) { Step::Done } else { Step::More }
    }

    /// Takes bytes until there are `len`.
    fn fill(&mut self, len: usize, input: &mut &[u8]) -> bool {
        let more = len.saturating_sub(self.have.len()).min(input.len());
        let (taken, rest) = input.split_at(more);
        self.have.extend_from_slice(taken);
        *input = rest;
        self.have.len() >= len
    }
}

/// RFC 1928 6.
fn refused(reply: u8) -> Step {
    let (text, status) = match reply {
        1 => ("it has failed", 0),
        2 => ("its rules do not allow it", 403),
        3 => ("the network is unreachable", 0),
        4 => ("the host is unreachable", 0),
        5 => ("the connection was refused", 0),
        6 => ("the packets lived too short", 0),
        7 => ("it does not connect", 0),
        8 => ("it does not know this kind of address", 0),
        _ => ("no reason is known", 0),
    };
    failed(format!("the proxy could not connect: {text} (reply {reply})"), status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(proxy: &str, host: &str, port: u16) -> (Tunnel, Vec<u8>) {
        let host = dari_core::Authority::parse(host, 0).unwrap().host;
        Tunnel::new(&Proxy::parse(proxy).unwrap(), &host, port).unwrap()
    }

    /// Feeds `answer` in pieces of every size: what is said is the same, and `rest` bytes are left over.
    #[track_caller]
    fn says(proxy: &str, answer: &[u8], rest: usize) -> (Vec<u8>, Step) {
        let mut results = (1..=answer.len()).map(|size| {
            let (mut tunnel, mut said) = tunnel(proxy, "a.example", 443);
            let (mut input, mut given): (&[u8], usize) = (&[], 0);
            loop {
                match tunnel.receive(&mut input) {
                    Step::Send(bytes) => said.extend(bytes),
                    Step::More if given == answer.len() => return (said, Step::More),
                    Step::More => {
                        assert_eq!(input, b"");
                        let end = answer.len().min(given + size);
                        (input, given) = (&answer[given..end], end);
                    }
                    end => {
                        assert_eq!(input.len() + answer.len() - given, rest, "in pieces of {size}");
                        return (said, end);
                    }
                }
            }
        });
        let first = results.next().unwrap();
        results.for_each(|other| assert_eq!(other, first));
        first
    }

    #[track_caller]
    fn fails(proxy: &str, answer: &[u8], rest: usize) -> (String, u16) {
        match says(proxy, answer, rest).1 {
            Step::Failed(Refusal { text, status }) => (text, status),
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn connect_names_the_server_and_logs_in() {
        let said = |proxy, host, port| String::from_utf8(tunnel(proxy, host, port).1).unwrap();
        let plain = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
        assert_eq!(said("http://proxy:3128", "a.example", 443), plain);
        let login = "CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\nProxy-Authorization: Basic dTpw\r\n\r\n";
        assert_eq!(said("http://u:p@proxy:3128", "[::1]", 80), login);
        let proxy = Proxy::parse("http://proxy").unwrap();
        assert!(Tunnel::new(&proxy, &Host::Unix(b"/run/a".into()), 0).is_err());
    }

    #[test]
    fn what_stands_behind_the_answer_is_the_servers() {
        let answers: [&[u8]; 4] = [
            b"HTTP/1.1 200 Connection established\r\n\r\n",
            b"HTTP/1.0 204\r\nContent-Length: 9\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\nVia: old\n\n",
        ];
        for answer in answers {
            assert_eq!(says("http://p", answer, 0).1, Step::Done);
            assert_eq!(says("http://p", &[answer, b"\r\n\x81\x02hi"].concat(), 6).1, Step::Done);
            assert_eq!(says("http://p", &answer[..answer.len() - 1], 0).1, Step::More);
        }
    }

    #[test]
    fn a_refusal_has_its_status() {
        let fails = |answer: &[u8], rest| fails("http://p", answer, rest);
        let answer = b"HTTP/1.1 407 Whatever it says\r\nProxy-Authenticate: Basic\r\n\r\nbody";
        assert_eq!(fails(answer, 4), ("the proxy answered 407 Proxy Authentication Required".into(), 407));
        assert_eq!(fails(b"HTTP/1.1 502\r\n\r\n", 0), ("the proxy answered 502 Bad Gateway".into(), 502));
        assert_eq!(fails(b"HTTP/1.1 418 Evil\r\n\r\n", 0), ("the proxy answered 418".into(), 418));
        assert_eq!(fails(b"HTTP/1.1 101 Evil\r\n\r\n", 0).1, 101);
        for bad in
            ["HTTP/1.1 2000 OK", "HTTP/1.1 20", "HTTP/1.1 +20", "HTTP/1.1  200", "HTTP/1.x 200", "HTTP/1.1 099"]
        {
            let answer = format!("{bad}\r\n\r\n");
            assert_eq!(fails(answer.as_bytes(), 0), ("the proxy's answer has no HTTP status".into(), 0), "{bad}");
        }
        assert_eq!(fails(b"SSH-2.0-x\r\n", 10).0, "what answers is no HTTP proxy");
        assert_eq!(fails(b"\x05\xff", 1).0, "what answers is no HTTP proxy");
        assert_eq!(Tunnel::ended().text, "the proxy ended the connection before it had answered");
    }

    #[test]
    fn an_answer_without_an_end_is_cut_off() {
        let (mut tunnel, _) = tunnel("http://p", "a", 80);
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000);
        let mut input = &interim[..];
        let Step::Failed(refusal) = tunnel.receive(&mut input) else { panic!("it goes on") };
        assert_eq!(refusal.text, "the proxy's answer is longer than 16384 bytes");
        assert_eq!(interim.len() - input.len(), MOST_ANSWER + 1);
    }

    #[test]
    fn socks5_goes_its_rounds() {
        let name = b"\x05\x01\0\x03\x09a.example\x01\xbb";
        let yes = b"\x05\0\0\x01\x7f\0\0\x01\x12\x34";
        let (said, end) = says("socks5://p", &[b"\x05\0", &yes[..], b"hi"].concat(), 2);
        assert_eq!((said, end), ([b"\x05\x01\0", &name[..]].concat(), Step::Done));

        let (said, end) = says("socks5://u:pw@p", &[b"\x05\x02\x01\0", &yes[..]].concat(), 0);
        assert_eq!((said, end), ([b"\x05\x02\0\x02\x01\x01u\x02pw", &name[..]].concat(), Step::Done));
        let (said, _) = says("socks5h://u:pw@p", &[b"\x05\0", &yes[..]].concat(), 0);
        assert_eq!(said, [b"\x05\x02\0\x02", &name[..]].concat(), "a login that is not wanted is not sent");

        for address in [&b"\x03\x02ab\0\0"[..], b"\x03\0\0\0", b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
            let answer = [b"\x05\0\x05\0\0", address].concat();
            assert_eq!(says("socks5://p", &[&answer[..], b"hi"].concat(), 2).1, Step::Done);
            assert_eq!(says("socks5://p", &answer[..answer.len() - 1], 0).1, Step::More);
        }
    }

    #[test]
    fn socks5_takes_addresses_as_they_are() {
        assert_eq!(Socks5::request(&Host::Address([127, 0, 0, 1].into()), 80), b"\x05\x01\0\x01\x7f\0\0\x01\0\x50");
        let six = Socks5::request(&Host::Address("::1".parse().unwrap()), 80);
        assert_eq!(six, b"\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50");
    }

    #[test]
    fn socks5_refusals_are_told() {
        let fails = |proxy, answer: &[u8], rest| fails(proxy, answer, rest);
        let (with, without) = ("socks5://u:p@p", "socks5://p");
        assert_eq!(fails(without, b"\x05\xff", 0), ("the proxy wants a user name and a password".into(), 407));
        assert_eq!(fails(with, b"\x05\xff", 0), ("the proxy takes no user name and password".into(), 407));
        assert_eq!(fails(with, b"\x05\x01", 0).1, 0);
        assert_eq!(fails(without, b"\x05\x02", 0).0, "the proxy chose a way to log in that was not offered");
        assert_eq!(
            fails(with, b"\x05\x02\x01\x01", 0),
            ("the proxy refused the user name or the password".into(), 407)
        );
        assert_eq!(fails(without, b"\x05\0\x05\x02", 0).1, 403);
        let text = "the proxy could not connect: the connection was refused (reply 5)";
        assert_eq!(fails(without, b"\x05\0\x05\x05\0\x01\0\0\0\0\0\0", 8), (text.into(), 0));
        assert_eq!(fails(without, b"HTTP/1.1 400 Bad\r\n\r\n", 18).0, "what answers is no SOCKS5 proxy");
        assert_eq!(fails(without, b"\x05\0\x05\0\0\x02\0", 0).1, 0);
        assert!(!format!("{:?}", tunnel("socks5://u:secret@p", "a", 1)).contains("secret"));
    }
}
