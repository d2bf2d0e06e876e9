//! What is measured while a load runs: the server's CPU time, messages, latency, memory.

use crate::Failure;
use crate::sys::CpuClock;
use crate::target::Target;
use std::time::{Duration, Instant};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Before the clocks are read first.
    pub warm_up: Duration,
    /// From then on.
    pub measure: Duration,
    /// In place of both: exactly so many messages, for counters that do not know time.
    pub messages: Option<u64>,
}

/// Numbers with their names, in the order in which they are told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(pub Vec<(&'static str, f64)>);

impl Figures {
    /// Adds one.
    pub fn set(&mut self, name: &'static str, value: f64) {
        self.0.push((name, value));
    }

    /// The one of this name.
    pub fn find(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }
}

/// The clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Mark {
    wall: Instant,
    server: Duration,
    load: Duration,
    messages: u64,
}

/// Reads the clocks when the time has come, and counts meanwhile.
#[derive(Debug)]
pub struct Meter {
    plan: Plan,
    server: Option<CpuClock>,
    began: Instant,
    from: Option<Mark>,
    messages: u64,
    latency: Histogram,
}

impl Meter {
    /// Begins with the warm-up.
    pub fn new(target: &Target, plan: Plan) -> Result<Self, Failure> {
        let server = target.pid.map(CpuClock::of).transpose()?;
        Ok(Self { plan, server, began: Instant::now(), from: None, messages: 0, latency: Histogram::default() })
    }

    /// Counts messages whose answers took `latency`.
    pub fn count(&mut self, messages: u64, latency: Duration) {
        self.messages += messages;
        self.latency.record(latency);
    }

    /// Looks whether the warm-up is over, or all: then there are figures.
    pub fn tick(&mut self, now: Instant) -> Result<Option<Figures>, Failure> {
        let Some(from) = self.from else {
            if self.plan.messages.is_some() || now - self.began >= self.plan.warm_up {
                self.from = Some(self.mark()?);
                self.latency = Histogram::default();
            }
            return Ok(None);
        };
        let is_over = match self.plan.messages {
            Some(messages) => self.messages >= messages,
            // However long the warm-up took: a volley to thousands takes what it takes.
            None => self.messages > from.messages && now.saturating_duration_since(from.wall) >= self.plan.measure,
        };
        if is_over { self.figures(from).map(Some) } else { Ok(None) }
    }

    fn mark(&self) -> Result<Mark, Failure> {
        Ok(Mark {
            wall: Instant::now(),
            server: self.server.map(CpuClock::read).transpose()?.unwrap_or_default(),
            load: CpuClock::of_this_thread().read()?,
            messages: self.messages,
        })
    }

    fn figures(&self, from: Mark) -> Result<Figures, Failure> {
        let to = self.mark()?;
        let messages = (to.messages - from.messages) as f64;
        let wall = (to.wall - from.wall).as_secs_f64();
        let mut figures = Figures::default();
        let load = (to.load - from.load).as_secs_f64();
        if self.server.is_some() {
            let server = (to.server - from.server).as_secs_f64();
            figures.set("us", server * 1e6 / messages);
            figures.set("server_busy", server / wall);
        }
        figures.set("load_us", load * 1e6 / messages);
        figures.set("load_busy", load / wall);
        figures.set("per_second", messages / wall);
        // Those of the warm-up among them: for who counts what a whole run has cost.
        figures.set("messages", self.messages as f64);
        figures.set("p50_us", self.latency.quantile(0.5));
        figures.set("p99_us", self.latency.quantile(0.99));
        figures.set("p999_us", self.latency.quantile(0.999));
        Ok(figures)
    }
}

/// What a process has in memory, in bytes.
pub fn resident(target: &Target) -> Result<f64, Failure> {
    let pid = target.pid.ok_or("memory is that of a process: name it with --pid")?;
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).ok_or("smaps_rollup has no Rss")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024.0)
}

/// Durations in buckets, 32 to each doubling: no bucket is wider than 3 % of what it holds.
#[derive(Debug, Default)]
struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

const FINE: u32 = 5;

impl Histogram {
    fn record(&mut self, duration: Duration) {
        let bucket = Self::bucket(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
    }

    fn bucket(nanos: u64) -> usize {
        let shift = nanos.max(1).ilog2().saturating_sub(FINE);
        ((shift as usize) << FINE) + usize::try_from(nanos >> shift).unwrap_or(usize::MAX)
    }

    /// The middle of a bucket, in microseconds.
    fn middle(bucket: usize) -> f64 {
        let shift = (bucket >> FINE).saturating_sub(1);
        let first = (bucket - (shift << FINE)) as f64 + 0.5;
        first * 2f64.powi(i32::try_from(shift).unwrap_or(i32::MAX)) / 1000.0
    }

    /// What a share of all durations does not exceed, in microseconds; 0 if there is none.
    #[expect(clippy::cast_possible_truncation, reason = "a count of messages")]
    fn quantile(&self, share: f64) -> f64 {
        let rank = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                return Self::middle(bucket);
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_three_percent() {
        let mut histogram = Histogram::default();
        for nanos in 1..=100_000 {
            histogram.record(Duration::from_nanos(nanos));
        }
        for (share, micros) in [(0.5, 50.0), (0.99, 99.0), (0.999, 99.9)] {
            let found = histogram.quantile(share);
            assert!((found / micros - 1.0).abs() < 0.03, "{share}: {found}");
        }
        assert_eq!(Histogram::default().quantile(0.5), 0.0);
    }

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        let mut last = 0;
        for nanos in 1..100_000 {
            let bucket = Histogram::bucket(nanos);
            assert!(bucket == last || bucket == last + 1, "{nanos}");
            last = bucket;
            let wide = (nanos as f64 / 1000.0 * 0.04).max(0.001);
            assert!((Histogram::middle(bucket) - nanos as f64 / 1000.0).abs() <= wide, "{nanos}");
        }
    }

    #[test]
    fn the_memory_of_this_process_is_some() {
        let target = Target {
            address: ([127, 0, 0, 1], 1).into(),
            pid: Some(std::process::id()),
            is_raw: false,
            cuts: false,
            tls: None,
        };
        assert!(resident(&target).unwrap() > 100_000.0);
        let clock = CpuClock::of(std::process::id()).unwrap();
        assert!(clock.read().unwrap() > Duration::ZERO);
    }
}
