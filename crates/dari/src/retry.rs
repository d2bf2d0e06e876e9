//! Whether a client connects again, and after how long. Exponential backoff with full jitter: a random time from 0 to
//! a bound that doubles with each attempt. Clock and randomness come from outside.
//!
//! Why these ends and no others: `docs/decisions/0006-who-connects-again.md`.

use crate::{Cause, Close};
use dari_core::Entropy;
use std::mem;
use std::time::SystemTime;

/// The least time that a connection is open before it counts as stable, in milliseconds.
const LEAST_STABLE_MS: u64 = 10_000;

/// What the host allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// The bound of the first delay, in milliseconds.
    pub(crate) first_ms: u32,
    /// The bound that no delay exceeds.
    pub(crate) longest_ms: u32,
    /// Attempts in a row, the first connecting not among them; `u32::MAX` for no end.
    pub(crate) count: u32,
}

/// The attempts of one dial.
#[derive(Debug)]
pub(crate) struct Retry {
    rule: Rule,
    /// Attempts since the last stable connection.
    attempts: u32,
    /// When the connection that there is opened.
    opened: Option<u64>,
    /// How long the server has asked to be left alone, in milliseconds.
    wait_ms: u64,
}

/// What follows from an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Connect again, as the `attempt`th time in a row, from 1.
    Again { attempt: u32, delay_ms: u32 },
    /// Never again, and why.
    Never(&'static str),
}

impl Retry {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, attempts: 0, opened: None, wait_ms: 0 }
    }

    pub(crate) fn opened(&mut self, now: u64) {
        self.opened = Some(now);
    }

    /// The server does not want to be asked again before so many seconds have passed, or a date has come
    /// (RFC 9110 10.2.3). What is neither counts as nothing.
    pub(crate) fn asked_to_wait(&mut self, retry_after: &str, now: SystemTime) {
        let is_seconds = !retry_after.is_empty() && retry_after.bytes().all(|byte| byte.is_ascii_digit());
        self.wait_ms = if is_seconds {
            // More than fits is for ever.
            retry_after.parse().unwrap_or(u64::MAX).saturating_mul(1_000)
        } else {
            let date = httpdate::parse_http_date(retry_after).ok();
            let wait = date.and_then(|date| date.duration_since(now).ok()).unwrap_or_default();
            u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
        };
    }

    /// A connection, or an attempt at one, has ended. `by_host`: the host has asked for that, however it came about.
    pub(crate) fn ended(&mut self, why: &Close, by_host: bool, now: u64, entropy: &mut dyn Entropy) -> Next {
        let Rule { first_ms, longest_ms, count } = self.rule;
        let wait = u32::try_from(mem::take(&mut self.wait_ms)).unwrap_or(u32::MAX);
        // A server that opens and ends at once has not recovered: its next delay is longer than the last one.
        let stable = LEAST_STABLE_MS.max(longest_ms.into());
        if self.opened.take().is_some_and(|opened| now.saturating_sub(opened) >= stable) {
            self.attempts = 0;
        }
        if let Some(why) = is_final(why, by_host) {
            return Next::Never(why);
        }
        if self.attempts >= count {
            return Next::Never("all attempts that are allowed have been made");
        }
        let bound = u64::from(first_ms) << self.attempts.min(32);
        let bound = u32::try_from(bound).unwrap_or(u32::MAX).min(longest_ms);
        self.attempts = self.attempts.saturating_add(1);
        // At random behind it, too: all whom a server has sent away were sent away at once.
        let delay_ms = up_to(bound, entropy).saturating_add(wait).min(longest_ms);
        Next::Again { attempt: self.attempts, delay_ms }
    }
}

/// Why it would be no better another time, if so.
fn is_final(why: &Close, by_host: bool) -> Option<&'static str> {
    if by_host {
        return Some("this side ended it");
    }
    match why.cause {
        // A Close frame without an answer was the host's, too: what dari itself sends one for is the cause then.
        Cause::Local | Cause::Shutdown | Cause::Abort | Cause::Released | Cause::CloseTimeout => {
            Some("this side ended it")
        }
        Cause::Peer => match why.code {
            1000 => Some("the peer is done: it closed with 1000"),
            // RFC 6455 7.4.1; 3000 and 3003 are registered as Unauthorized and Forbidden.
            1008 | 3000 | 3003 => Some("the peer does not want this client: 1008, 3000 or 3003"),
            _ => None,
        },
        // Without a status, a proxy has only not got through.
        Cause::Refused | Cause::Proxy => match why.status {
            0 | 408 | 425 | 429 | 500..=599 => None,
            _ => Some("the status of the answer would be the same again"),
        },
        Cause::Protocol | Cause::Limit | Cause::Utf8 | Cause::TooBig if !why.opened => {
            Some("what answers is no WebSocket server")
        }
        _ => None,
    }
}

/// A random number from 0 to `bound`, none of them likelier than another by more than one in 2^32.
fn up_to(bound: u32, entropy: &mut dyn Entropy) -> u32 {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    let scaled = u128::from(u64::from_le_bytes(bytes)) * (u128::from(bound) + 1);
    u32::try_from(scaled >> 64).unwrap_or(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::{End, Scene};

    /// Fills with one byte: 0 is the shortest delay, 255 the longest.
    struct Same(u8);

    impl Entropy for Same {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn close(cause: Cause) -> Close {
        let scene =
            Scene { end: End::Eof, closing: None, opened: true, unsent_bytes: 0, unsent_messages: 0, detail: None };
        Close { cause, ..Close::new(scene) }
    }

    fn retry(first_ms: u32, longest_ms: u32, count: u32) -> Retry {
        Retry::new(Rule { first_ms, longest_ms, count })
    }

    fn again(why: &Close) -> bool {
        matches!(retry(1, 1, 1).ended(why, false, 0, &mut Same(0)), Next::Again { .. })
    }

    fn peer(code: u16) -> Close {
        Close { code, ..close(Cause::Peer) }
    }

    fn status(cause: Cause, status: u16) -> Close {
        Close { status, opened: false, ..close(cause) }
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let delays = |retry: &mut Retry, byte, n: u32| {
            (1..=n)
                .map(|n| match retry.ended(&close(Cause::Connect), false, 0, &mut Same(byte)) {
                    Next::Again { attempt, delay_ms } if attempt == n => delay_ms,
                    next => panic!("{next:?}"),
                })
                .collect::<Vec<_>>()
        };
        let longest = [100, 200, 400, 800, 1_600, 3_000, 3_000, 3_000];
        assert_eq!(delays(&mut retry(100, 3_000, u32::MAX), 255, 8), longest);
        assert_eq!(delays(&mut retry(100, 3_000, u32::MAX), 0, 8), [0; 8]);
        assert_eq!(delays(&mut retry(100, 3_000, u32::MAX), 0x80, 3), [50, 100, 201]);
        assert_eq!(delays(&mut retry(500, 100, u32::MAX), 255, 2), [100, 100]);
        let many = delays(&mut retry(u32::MAX, u32::MAX, u32::MAX), 255, 70);
        assert_eq!((many[0], many[69]), (u32::MAX, u32::MAX));
    }

    #[test]
    fn a_delay_begins_when_the_server_wants_to_be_asked_again() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let delays = |retry_after| {
            let mut retry = retry(100, 3_000, u32::MAX);
            retry.asked_to_wait(retry_after, now);
            [255, 0].map(|byte| match retry.ended(&status(Cause::Refused, 503), false, 0, &mut Same(byte)) {
                Next::Again { delay_ms, .. } => delay_ms,
                next => panic!("{next:?}"),
            })
        };
        // It counts once.
        assert_eq!(delays("2"), [2_100, 0]);
        assert_eq!(delays("Sun, 06 Nov 1994 08:49:38 GMT"), [1_100, 0]);
        for far in ["3", "3600", "4294968", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(delays(far), [3_000, 0], "{far}");
        }
        for nothing in ["", "0", "-1", "2.5", "+2", "2 s", "soon", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(delays(nothing), [100, 0], "{nothing}");
        }
    }

    #[test]
    fn every_delay_up_to_the_bound_is_as_likely_as_the_others() {
        let mut counts = [0_u32; 5];
        for n in 0..5_000_u64 {
            struct Spread(u64);
            impl Entropy for Spread {
                fn fill(&mut self, bytes: &mut [u8]) {
                    bytes.copy_from_slice(&self.0.to_le_bytes());
                }
            }
            counts[up_to(4, &mut Spread(n * (u64::MAX / 5_000))) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (999..=1_001).contains(count)), "{counts:?}");
    }

    #[test]
    fn attempts_end_when_they_are_used_up() {
        let mut retry = retry(100, 100, 2);
        for attempt in [1, 2] {
            let next = retry.ended(&close(Cause::Eof), false, 0, &mut Same(0));
            assert_eq!(next, Next::Again { attempt, delay_ms: 0 });
        }
        assert!(matches!(retry.ended(&close(Cause::Eof), false, 0, &mut Same(0)), Next::Never(_)));
    }

    #[test]
    fn a_stable_connection_begins_the_count_anew() {
        for (longest, stable) in [(500, 10_000), (60_000, 60_000)] {
            let attempt_after = |open_for: u64| {
                let mut retry = retry(100, longest, u32::MAX);
                retry.ended(&close(Cause::Connect), false, 0, &mut Same(0));
                retry.ended(&close(Cause::Connect), false, 0, &mut Same(0));
                retry.opened(1_000);
                match retry.ended(&close(Cause::Eof), false, 1_000 + open_for, &mut Same(0)) {
                    Next::Again { attempt, .. } => attempt,
                    next => panic!("{next:?}"),
                }
            };
            assert_eq!((attempt_after(0), attempt_after(stable - 1), attempt_after(stable)), (3, 3, 1));
        }
        // Nor does the time count in which there was none.
        let mut retry = retry(100, 100, u32::MAX);
        retry.opened(0);
        retry.ended(&close(Cause::Eof), false, 1, &mut Same(0));
        let next = retry.ended(&close(Cause::Connect), false, 50_000, &mut Same(0));
        assert_eq!(next, Next::Again { attempt: 2, delay_ms: 0 });
    }

    #[test]
    fn what_the_host_ends_stays_ended() {
        for cause in Cause::ALL {
            let next = retry(1, 1, 1).ended(&close(cause), true, 0, &mut Same(0));
            assert_eq!(next, Next::Never("this side ended it"), "{cause:?}");
        }
        for cause in [Cause::Local, Cause::Shutdown, Cause::Abort, Cause::Released, Cause::CloseTimeout] {
            assert!(!again(&close(cause)), "{cause:?}");
        }
    }

    #[test]
    fn what_the_network_ends_is_tried_again() {
        for cause in [
            Cause::Eof,
            Cause::Reset,
            Cause::System,
            Cause::Memory,
            Cause::SlowPeer,
            Cause::HandshakeTimeout,
            Cause::IdleTimeout,
            Cause::Dns,
            Cause::Connect,
            Cause::Proxy,
            Cause::Tls,
        ] {
            assert!(again(&close(cause)), "{cause:?}");
            assert!(again(&Close { opened: false, ..close(cause) }), "{cause:?}");
        }
    }

    #[test]
    fn the_peers_word_is_taken() {
        for code in [1000, 1008, 3000, 3003] {
            assert!(!again(&peer(code)), "{code}");
        }
        for code in [1001, 1002, 1003, 1005, 1007, 1009, 1011, 1012, 1013, 1014, 3008, 4000, 4999] {
            assert!(again(&peer(code)), "{code}");
        }
    }

    #[test]
    fn an_answer_that_would_be_the_same_again_is_not_asked_for() {
        for cause in [Cause::Refused, Cause::Proxy] {
            for final_one in [200, 301, 400, 401, 403, 404, 407, 410, 426] {
                assert!(!again(&status(cause, final_one)), "{cause:?} {final_one}");
            }
            for other in [408, 425, 429, 500, 502, 503, 504, 520] {
                assert!(again(&status(cause, other)), "{cause:?} {other}");
            }
        }
        for cause in [Cause::Protocol, Cause::Limit] {
            assert!(!again(&Close { opened: false, ..close(cause) }) && again(&close(cause)), "{cause:?}");
        }
    }
}
