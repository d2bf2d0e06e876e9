//! Who is there from which address, how many and how fast: what a listener counts of its peers.

use crate::conn::Peer;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// How many connections may come at once, as a multiple of those that may come in a second.
const BURST: u64 = 4;
/// Millionths of a connection: buckets are filled every millisecond.
const UNIT: u64 = 1_000_000;
/// Addresses that are remembered without any reason, before they are looked through.
const FORGET: usize = 1024;

/// Whose connections are counted together: an IPv4 address, or 64 bits of an IPv6 one, which is what one subscriber
/// gets. Unix sockets are all one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Visitor {
    V4(u32),
    V6(u64),
    Local,
}

impl Visitor {
    pub(crate) fn new(peer: &Peer) -> Self {
        match peer.ip() {
            Some(IpAddr::V4(address)) => Self::V4(address.to_bits()),
            Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(address) => Self::V4(address.to_bits()),
                None => Self::V6((address.to_bits() >> 64) as u64),
            },
            None => Self::Local,
        }
    }

    /// Whether it is on this machine.
    pub(crate) fn is_loopback(peer: &Peer) -> bool {
        peer.ip().is_none_or(|ip| ip.to_canonical().is_loopback())
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many connections of the address are there as may be.
    Many,
    /// They come too fast.
    Fast,
    /// There is no memory to remember the address.
    Memory,
}

#[derive(Debug)]
struct Visits {
    conns: usize,
    /// What is left in the bucket, in millionths of a connection.
    bucket: u64,
    /// When it was filled last, in milliseconds.
    filled: u64,
}

/// The addresses of a listener's peers.
#[derive(Debug, Default)]
pub(crate) struct Visitors {
    known: HashMap<Visitor, Visits>,
    /// How many are known when those without a reason are looked for again.
    sweep_at: usize,
}

impl Visitors {
    /// Lets one more connection in, or not. `most` at a time, `rate` in a second; `usize::MAX` is no limit.
    pub(crate) fn enter(&mut self, who: Visitor, most: usize, rate: usize, now: u64) -> Result<(), Refused> {
        self.sweep(rate, now);
        let full = full(rate);
        self.known.try_reserve(1).map_err(|_| Refused::Memory)?;
        let visits = self.known.entry(who).or_insert(Visits { conns: 0, bucket: full, filled: now });
        if visits.conns >= most {
            return Err(Refused::Many);
        }
        if rate != usize::MAX {
            visits.fill(rate, now);
            visits.bucket = visits.bucket.checked_sub(UNIT).ok_or(Refused::Fast)?;
        }
        visits.conns += 1;
        Ok(())
    }

    /// One connection has gone.
    pub(crate) fn leave(&mut self, who: Visitor) {
        if let Some(visits) = self.known.get_mut(&who) {
            visits.conns = visits.conns.saturating_sub(1);
        }
    }

    /// Forgets those of whom nothing is there, and whose bucket is full again.
    fn sweep(&mut self, rate: usize, now: u64) {
        if self.known.len() < self.sweep_at.max(FORGET) {
            return;
        }
        self.known.retain(|_, visits| {
            visits.fill(rate, now);
            visits.conns > 0 || (rate != usize::MAX && visits.bucket < full(rate))
        });
        self.known.shrink_to(FORGET);
        self.sweep_at = self.known.len() * 2;
    }
}

impl Visits {
    fn fill(&mut self, rate: usize, now: u64) {
        let more = (rate as u64).saturating_mul(UNIT / 1000).saturating_mul(now - self.filled);
        self.bucket = self.bucket.saturating_add(more).min(full(rate));
        self.filled = now;
    }
}

fn full(rate: usize) -> u64 {
    (rate as u64).saturating_mul(BURST * UNIT)
}

/// A network: an address, and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Ip { bits: Ipv6Addr, len: u32 },
    Local,
}

impl Network {
    /// Reads "10.0.0.0/8", "::1" or "unix:".
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "unix:" {
            return Ok(Self::Local);
        }
        let bad = || format!("trusted proxy {text:?} is no network: 10.0.0.0/8, ::1 or unix:");
        let (address, len) = text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let (most, front) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let len: u32 = len.map_or(Ok(most), str::parse).map_err(|_| bad())?;
        if len > most {
            return Err(bad());
        }
        Ok(Self::Ip { bits: widen(address), len: front + len })
    }

    pub(crate) fn holds(&self, ip: Option<IpAddr>) -> bool {
        match (self, ip) {
            (Self::Local, None) => true,
            (Self::Ip { bits, len }, Some(ip)) => {
                let differ = bits.to_bits() ^ widen(ip).to_bits();
                differ.leading_zeros() >= *len
            }
            _ => false,
        }
    }
}

fn widen(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Whom a chain of trusted proxies speaks for: the last address in X-Forwarded-For that is not one of theirs.
pub(crate) fn forwarded<'a>(lines: impl Iterator<Item = &'a [u8]>, trusted: &[Network]) -> Option<IpAddr> {
    let mut found = None;
    let lines: Vec<&[u8]> = lines.collect();
    for part in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        let text = str::from_utf8(part).ok()?.trim();
        let Some(ip) = read_forwarded(text) else { break };
        found = Some(ip);
        if !trusted.iter().any(|network| network.holds(Some(ip))) {
            break;
        }
    }
    found
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn read_forwarded(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.split_once(']')).map_or(text, |(inner, _)| inner);
    let ip = bare.parse().ok().or_else(|| bare.rsplit_once(':')?.0.parse().ok());
    ip.map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Visitor = Visitor::V4(1);

    #[test]
    fn a_burst_and_then_a_rate() {
        let mut visitors = Visitors::default();
        let mut come = |now| visitors.enter(ONE, usize::MAX, 10, now);
        assert!((0..40).all(|_| come(0).is_ok()));
        assert_eq!(come(99), Err(Refused::Fast));
        assert_eq!((come(100), come(100)), (Ok(()), Err(Refused::Fast)));
        assert!((0..40).all(|_| come(100_000).is_ok()));
        assert_eq!(come(100_000), Err(Refused::Fast));
    }

    #[test]
    fn as_many_as_may_be_and_one_more_when_one_has_gone() {
        let mut visitors = Visitors::default();
        assert!((0..3).all(|_| visitors.enter(ONE, 3, usize::MAX, 0).is_ok()));
        assert_eq!(visitors.enter(ONE, 3, usize::MAX, 0), Err(Refused::Many));
        assert_eq!(visitors.enter(Visitor::V4(2), 3, usize::MAX, 0), Ok(()));
        visitors.leave(ONE);
        assert_eq!(visitors.enter(ONE, 3, usize::MAX, 0), Ok(()));
    }

    #[test]
    fn who_has_gone_is_forgotten_in_time() {
        let mut visitors = Visitors::default();
        for who in 0..1_000_000u64 {
            let who = Visitor::V6(who);
            assert!(visitors.enter(who, 9, 10, who_ms(who)).is_ok());
            visitors.leave(who);
        }
        assert!(visitors.known.len() < 10_000, "{}", visitors.known.len());
        fn who_ms(who: Visitor) -> u64 {
            if let Visitor::V6(n) = who { n / 10 } else { 0 }
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let holds = |network: &str, ip: &str| Network::parse(network).unwrap().holds(ip.parse().ok());
        assert!(holds("10.0.0.0/8", "10.255.1.2") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("127.0.0.1", "127.0.0.1") && !holds("127.0.0.1", "127.0.0.2"));
        assert!(holds("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(holds("fe80::/10", "febf::1") && !holds("fe80::/10", "fec0::1"));
        assert!(holds("0.0.0.0/0", "9.9.9.9") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("unix:", "") && !holds("unix:", "::1"));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.1/x", "host"] {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_stranger_from_the_right_is_whom_proxies_speak_for() {
        let trusted = [Network::parse("10.0.0.0/8").unwrap()];
        let of =
            |lines: &[&str]| forwarded(lines.iter().map(|line| line.as_bytes()), &trusted).map(|ip| ip.to_string());
        assert_eq!(of(&["1.1.1.1, 2.2.2.2, 10.0.0.9"]).as_deref(), Some("2.2.2.2"));
        assert_eq!(of(&["1.1.1.1", "10.0.0.8, 10.0.0.9"]).as_deref(), Some("1.1.1.1"));
        assert_eq!(of(&["10.0.0.8"]).as_deref(), Some("10.0.0.8"));
        assert_eq!(of(&["[2001:db8::1]:443"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(of(&["1.2.3.4:567"]).as_deref(), Some("1.2.3.4"));
        assert_eq!(of(&["1.1.1.1, rubbish, 10.0.0.9"]).as_deref(), Some("10.0.0.9"));
        assert_eq!(of(&["unknown"]), None);
        assert_eq!(of(&[]), None);
    }
}
