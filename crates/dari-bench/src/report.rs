//! What came out: medians of paired ratios with their spread, as JSON, as a Markdown table, as plots.

mod json;
mod markdown;
mod plot;

use crate::Failure;
use crate::meter::Figures;
use crate::scenarios::Scenario;
use std::fs;
use std::path::Path;
use std::process::Command;

/// All that a run has found.
#[derive(Debug, Default)]
pub struct Results {
    /// Where and when, line by line: a name and what it is.
    pub machine: Vec<(&'static str, String)>,
    /// The servers that took part, and what they say that they are.
    pub servers: Vec<(&'static str, String)>,
    /// One row for each scenario.
    pub rows: Vec<Row>,
}

/// What all servers did under one load.
#[derive(Debug)]
pub struct Row {
    /// The load.
    pub scenario: Scenario,
    /// In the order of the servers.
    pub cells: Vec<Cell>,
}

/// What one server did under one load.
#[derive(Debug)]
pub struct Cell {
    /// Who.
    pub server: &'static str,
    /// Round by round; nothing where it failed.
    pub rounds: Vec<Option<Figures>>,
    /// Why it failed, the last time.
    pub failure: Option<String>,
}

/// Several values of the same thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

impl Spread {
    /// Of these values; nothing if there is none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let (left, right) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: f64::midpoint(left, right), low, high })
    }

    /// Whether a bar is met: in every round, within the noise, or in none.
    pub fn verdict(&self, bar: f64) -> &'static str {
        match () {
            () if self.high <= bar => "met",
            () if self.median <= bar => "met by the median",
            () if self.low <= bar => "missed by the median",
            () => "missed",
        }
    }
}

impl Row {
    /// A figure of one server over all rounds.
    pub fn figure(&self, server: &str, name: &str) -> Option<Spread> {
        Spread::of(self.cell(server)?.rounds.iter().flatten().filter_map(|figures| figures.find(name)))
    }

    /// The ratio of two servers' figures, round by round: what the machine did in a round both have felt.
    pub fn ratio(&self, server: &str, to: &str) -> Option<Spread> {
        let name = self.scenario.figure();
        let (one, other) = (self.cell(server)?, self.cell(to)?);
        let pairs = one.rounds.iter().zip(&other.rounds);
        Spread::of(pairs.filter_map(|(one, other)| Some(one.as_ref()?.find(name)? / other.as_ref()?.find(name)?)))
    }

    fn cell(&self, server: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.server == server)
    }
}

impl Results {
    /// What a server says that it is.
    pub fn note(&mut self, server: &str, about: String) {
        if let Some((_, known)) = self.servers.iter_mut().find(|(name, _)| *name == server) {
            *known = about;
        }
    }

    /// How many measurements came to nothing.
    pub fn failed(&self) -> usize {
        let rounds = self.rows.iter().flat_map(|row| &row.cells).flat_map(|cell| &cell.rounds);
        rounds.filter(|round| round.is_none()).count()
    }

    /// Writes `results.json`, `tables.md` and the plots into a folder.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("results.json"), json::write(self))?;
        fs::write(folder.join("tables.md"), self.tables())?;
        plot::write(self, folder)
    }

    /// The row that is the same but for TLS.
    fn without_tls(&self, row: &Row) -> Option<&Row> {
        let plain = row.scenario.without_tls()?;
        self.rows.iter().find(|other| other.scenario.name == plain.name)
    }

    /// The tables of `tables.md`.
    pub fn tables(&self) -> String {
        markdown::write(self)
    }
}

/// What has to be known about the machine to believe a figure, or not.
pub fn machine(rounds: usize, seconds: f64) -> Vec<(&'static str, String)> {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpus = file("/proc/cpuinfo");
    let models: Vec<&str> =
        cpus.lines().filter_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).collect();
    let model = models.first().copied().unwrap_or("unknown");
    vec![
        ("date", said_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit", said_by("git", &["describe", "--always", "--dirty"])),
        ("processor", format!("{} x {model}", models.len())),
        ("kernel", file("/proc/sys/kernel/osrelease")),
        ("load before", file("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")),
        ("rounds", format!("{rounds} of {seconds} s for each server, interleaved")),
    ]
}

/// The first line that a program says; empty if there is none.
fn said_by(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::all;

    fn cell(server: &'static str, values: &[Option<f64>]) -> Cell {
        let rounds = values.iter().map(|value| value.map(|us| Figures(vec![("us", us)]))).collect();
        Cell { server, rounds, failure: Some("too \"slow\"\n".to_owned()) }
    }

    /// One in which rounds are of different speed, and one server has missed one.
    fn results() -> Results {
        let cells =
            vec![cell("raw", &[Some(1.0), Some(2.0), Some(4.0)]), cell("dari", &[Some(1.1), None, Some(4.8)])];
        Results {
            machine: machine(3, 1.0),
            servers: vec![("raw", String::new()), ("dari", "0.1 <x>".to_owned())],
            rows: vec![Row { scenario: all()[0], cells }],
        }
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let results = results();
        let ratio = results.rows[0].ratio("dari", "raw").unwrap();
        assert!((ratio.low - 1.1).abs() < 1e-9 && (ratio.high - 1.2).abs() < 1e-9, "{ratio:?}");
        assert!((ratio.median - 1.15).abs() < 1e-9);
        assert_eq!(results.rows[0].ratio("dari", "nobody"), None);
        assert_eq!(
            [1.21, 1.16, 1.11, 1.09].map(|bar| ratio.verdict(bar)),
            ["met", "met by the median", "missed by the median", "missed"]
        );
    }

    #[test]
    fn everything_is_written_and_is_what_it_says() {
        let folder = std::env::temp_dir().join(format!("dari-bench-{}", std::process::id()));
        results().write(&folder).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let (json, tables, plot) = (read("results.json"), read("tables.md"), read("cpu.svg"));
        fs::remove_dir_all(&folder).unwrap();
        assert!(
            json.contains(r#""us": 4.8"#) && json.contains(r#"too \"slow\"\n"#) && json.contains("null"),
            "{json}"
        );
        assert!(tables.contains("| 1.15 (1.10 to 1.20) |"), "{tables}");
        assert!(plot.contains("20 B, 64 connections") && plot.contains("dari"), "{plot}");
        assert!(!plot.contains("<x>"));
    }
}
