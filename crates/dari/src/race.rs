//! Happy Eyeballs (RFC 8305 4, 5): which of a host's addresses is tried when. It only decides: the sockets and the
//! clock, in milliseconds, are the caller's.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::{fmt, io};

/// How long an attempt is alone before the next one joins it, in milliseconds (RFC 8305 8).
const HEAD_START_MS: u64 = 250;
/// Failed addresses that are named in a text; of the others it says how many.
const MOST_NAMED: usize = 8;

/// The addresses of one host, and what has come of them.
#[derive(Debug)]
pub(crate) struct Race {
    /// Not tried yet, in the order in which they will be.
    waiting: VecDeque<SocketAddr>,
    /// On their way, oldest first.
    running: Vec<SocketAddr>,
    failed: Vec<(SocketAddr, i32)>,
    /// When the next one may start.
    next: u64,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Begin to connect to this address, and ask again.
    Start(SocketAddr),
    /// Nothing before this time, if none of the attempts fails before; `u64::MAX` if they are all there are.
    Wait(u64),
    /// All have failed: the race's text says why.
    Failed,
}

impl Race {
    /// `addresses` stand in the system's order of preference. The families take turns; the first address stays first,
    /// so that IPv6 comes first where the system has it (RFC 6724), and not where it has none.
    pub(crate) fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let mut seen = BTreeSet::new();
        // A file of hosts may say the same twice.
        let mut addresses = addresses.into_iter().filter(|address| seen.insert(*address)).peekable();
        let six_first = addresses.peek().is_some_and(SocketAddr::is_ipv6);
        let (one, other): (Vec<_>, Vec<_>) = addresses.partition(|address| address.is_ipv6() == six_first);
        let (mut one, mut other) = (VecDeque::from(one), VecDeque::from(other));
        let mut waiting = VecDeque::with_capacity(one.len() + other.len());
        while !one.is_empty() || !other.is_empty() {
            waiting.extend(one.pop_front());
            waiting.extend(other.pop_front());
        }
        Self { waiting, running: Vec::new(), failed: Vec::new(), next: 0 }
    }

    /// What to do at `now`.
    pub(crate) fn step(&mut self, now: u64) -> Step {
        if now < self.next && !self.waiting.is_empty() {
            return Step::Wait(self.next);
        }
        match self.waiting.pop_front() {
            Some(address) => {
                self.running.push(address);
                self.next = now + HEAD_START_MS;
                Step::Start(address)
            }
            None if self.running.is_empty() => Step::Failed,
            None => Step::Wait(u64::MAX),
        }
    }

    /// An attempt has failed: the next one does not wait any longer.
    pub(crate) fn failed(&mut self, address: SocketAddr, errno: i32) {
        self.running.retain(|other| *other != address);
        self.failed.push((address, errno));
        self.next = 0;
    }

    /// The errno of the attempt that failed last, or 0.
    pub(crate) fn errno(&self) -> i32 {
        self.failed.last().map_or(0, |(_, errno)| *errno)
    }
}

/// What has failed, in one line: `127.0.0.1:1: Connection refused; [::1]:1: Connection refused`.
impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (address, errno)) in self.failed.iter().take(MOST_NAMED).enumerate() {
            let between = if i == 0 { "" } else { "; " };
            let error = io::Error::from_raw_os_error(*errno).to_string();
            let error = error.split(" (os error").next().unwrap_or_default();
            write!(f, "{between}{address}: {error}")?;
        }
        match self.failed.len().saturating_sub(MOST_NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `4.1` is the first IPv4 address, `6.2` the second IPv6 one.
    fn at(name: &str) -> SocketAddr {
        let (family, n) = name.split_once('.').unwrap();
        let text = if family == "4" { format!("10.0.0.{n}:80") } else { format!("[fc00::{n}]:80") };
        text.parse().unwrap()
    }

    fn race(names: &str) -> Race {
        Race::new(names.split(' ').map(at))
    }

    /// The order in which addresses are tried that all fail at once.
    fn order(names: &str) -> Vec<SocketAddr> {
        let mut race = race(names);
        let mut tried = Vec::new();
        while let Step::Start(address) = race.step(0) {
            tried.push(address);
            race.failed(address, libc::ENETUNREACH);
        }
        assert_eq!(race.step(0), Step::Failed);
        tried
    }

    fn list(names: &str) -> Vec<SocketAddr> {
        names.split(' ').map(at).collect()
    }

    #[test]
    fn families_take_turns_and_keep_their_order() {
        assert_eq!(order("6.1 6.2 6.3 4.1 4.2"), list("6.1 4.1 6.2 4.2 6.3"));
        assert_eq!(order("6.2 4.1 4.2 4.3 6.1"), list("6.2 4.1 6.1 4.2 4.3"));
        assert_eq!(order("4.1 4.2 6.1 6.2"), list("4.1 6.1 4.2 6.2"), "the system's first stays first");
        assert_eq!(order("4.3 4.2 4.1"), list("4.3 4.2 4.1"));
        assert_eq!(order("6.1 4.1 6.1 4.1"), list("6.1 4.1"), "each once");
    }

    #[test]
    fn the_next_one_joins_after_the_head_start() {
        let mut race = race("6.1 4.1 6.2");
        assert_eq!(race.step(1_000), Step::Start(at("6.1")));
        assert_eq!(race.step(1_000), Step::Wait(1_250));
        assert_eq!(race.step(1_249), Step::Wait(1_250));
        assert_eq!(race.step(1_260), Step::Start(at("4.1")));
        assert_eq!(race.step(1_260), Step::Wait(1_510), "counted from when the last one began");
        assert_eq!(race.step(1_510), Step::Start(at("6.2")));
        assert_eq!(race.step(9_999), Step::Wait(u64::MAX), "the rest is up to them, and to the deadline");
    }

    #[test]
    fn one_that_fails_lets_the_next_one_start_at_once() {
        let mut race = race("6.1 4.1 6.2");
        assert_eq!(race.step(0), Step::Start(at("6.1")));
        race.failed(at("6.1"), libc::ECONNREFUSED);
        assert_eq!(race.step(10), Step::Start(at("4.1")));
        assert_eq!(race.step(10), Step::Wait(260), "which has a head start of its own");
        race.failed(at("4.1"), libc::ECONNREFUSED);
        assert_eq!(race.step(20), Step::Start(at("6.2")));
        assert_eq!(race.step(20), Step::Wait(u64::MAX));
        race.failed(at("6.2"), libc::ECONNREFUSED);
        assert_eq!(race.step(30), Step::Failed);
    }

    #[test]
    fn the_race_is_lost_only_when_the_last_one_has_failed() {
        let mut race = race("6.1 4.1");
        assert_eq!((race.step(0), race.step(250)), (Step::Start(at("6.1")), Step::Start(at("4.1"))));
        race.failed(at("4.1"), libc::ECONNREFUSED);
        assert_eq!(race.step(260), Step::Wait(u64::MAX), "the first is still on its way");
        race.failed(at("6.1"), libc::ETIMEDOUT);
        assert_eq!((race.step(270), race.errno()), (Step::Failed, libc::ETIMEDOUT));
        assert_eq!(race.to_string(), "10.0.0.1:80: Connection refused; [fc00::1]:80: Connection timed out");
    }

    #[test]
    fn the_first_to_succeed_wins_and_the_others_are_dropped() {
        let mut race = race("6.1 4.1 6.2 4.2");
        for now in [0, 250, 500] {
            assert!(matches!(race.step(now), Step::Start(_)));
        }
        race.failed(at("6.1"), libc::ENETUNREACH);
    }

    #[test]
    fn no_address_and_many_addresses_are_told_in_a_line() {
        assert_eq!(Race::new([]).step(0), Step::Failed);
        let mut race = Race::new((1..=20).map(|n| at(&format!("4.{n}"))));
        while let Step::Start(address) = race.step(0) {
            race.failed(address, libc::ECONNREFUSED);
        }
        let text = race.to_string();
        assert!(text.ends_with("10.0.0.8:80: Connection refused; and 12 more") && text.len() < 400, "{text}");
    }
}
