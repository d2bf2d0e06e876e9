//! The tables that people read: dari beside its bars, everybody beside raw, latencies, memory.

use super::{Results, Row, Spread};
use crate::server::{DARI, RAW, UWS};

pub(super) fn write(results: &Results) -> String {
    let mut parts = vec![about(results)];
    let (memory, time): (Vec<&Row>, Vec<&Row>) = results.rows.iter().partition(|row| row.scenario.is_memory());
    if !time.is_empty() {
        parts.push(format!("## dari and its bars\n\n{}", bars(&time)));
        parts.push(format!(
            "## Server CPU, us a message\n\nIn brackets: the median of the ratios to raw, round by round.\n\n{}",
            everybody(results, &time, |row, server| cell(row, server, RAW))
        ));
        parts.push(format!(
            "## Latency, us: half of all volleys, 99 %, 99.9 %\n\n{}",
            everybody(results, &time, latency)
        ));
    }
    if !memory.is_empty() {
        parts.push(format!(
            "## Memory, bytes a connection\n\n{}",
            everybody(results, &memory, |row, server| row.figure(server, "bytes").map(|spread| whole(spread.median)))
        ));
    }
    parts.extend(failures(results));
    parts.join("\n") + "\n"
}

fn about(results: &Results) -> String {
    let machine: Vec<_> = results.machine.iter().map(|(name, value)| format!("- {name}: {value}\n")).collect();
    let servers = results.servers.iter().filter(|(_, about)| !about.is_empty());
    let servers: Vec<_> = servers.map(|(name, about)| format!("- {name}: {about}\n")).collect();
    machine.concat() + &servers.concat()
}

/// A row for each scenario in which dari took part: what it takes of what raw and uWebSockets take.
fn bars(rows: &[&Row]) -> String {
    let mut lines = vec![
        "| scenario | dari us | of raw (spread) | bar | | of uWebSockets (spread) | bar | |".to_owned(),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for row in rows {
        let Some(us) = row.figure(DARI, "us") else { continue };
        let [raw, uws] = [(RAW, row.scenario.bars[0]), (UWS, row.scenario.bars[1])].map(|(other, bar)| {
            let ratio = row.ratio(DARI, other);
            let found = ratio.map_or("-".to_owned(), |ratio| {
                format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.low, ratio.high)
            });
            let bar = Some(bar).filter(|bar| *bar > 0.0);
            let verdict = ratio.zip(bar).map_or("", |(ratio, bar)| ratio.verdict(bar));
            format!("{found} | {} | {verdict}", bar.map_or("-".to_owned(), |bar| format!("{bar:.2}")))
        });
        lines.push(format!("| {} | {} | {raw} | {uws} |", row.scenario.title, micros(us.median)));
    }
    lines.join("\n") + "\n"
}

/// A row for each scenario, a column for each server.
fn everybody(results: &Results, rows: &[&Row], cell: impl Fn(&Row, &str) -> Option<String>) -> String {
    let names: Vec<_> = results.servers.iter().map(|(name, _)| *name).collect();
    let mut lines =
        vec![format!("| scenario | {} |", names.join(" | ")), format!("|---|{}", "---|".repeat(names.len()))];
    for row in rows {
        let cells: Vec<_> = names.iter().map(|name| cell(row, name).unwrap_or_else(|| "-".to_owned())).collect();
        lines.push(format!("| {} | {} |", row.scenario.title, cells.join(" | ")));
    }
    lines.join("\n") + "\n"
}

fn cell(row: &Row, server: &str, to: &str) -> Option<String> {
    let us = micros(row.figure(server, "us")?.median);
    let ratio = row.ratio(server, to).filter(|_| server != to);
    Some(ratio.map_or(us.clone(), |ratio| format!("{us} ({:.2})", ratio.median)))
}

fn latency(row: &Row, server: &str) -> Option<String> {
    let [p50, p99, p999] = ["p50_us", "p99_us", "p999_us"]
        .map(|name| row.figure(server, name).map(|spread: Spread| whole(spread.median)));
    Some(format!("{} / {} / {}", p50?, p99?, p999?))
}

fn failures(results: &Results) -> Option<String> {
    let failed = results.rows.iter().flat_map(|row| {
        let failures = row.cells.iter().filter_map(|cell| Some((cell.server, cell.failure.as_ref()?)));
        failures.map(|(server, why)| format!("- {}, {server}: {}\n", row.scenario.name, why.trim()))
    });
    let failed: Vec<_> = failed.collect();
    (!failed.is_empty()).then(|| format!("## What could not be measured\n\n{}", failed.concat()))
}

fn micros(value: f64) -> String {
    if value < 1.0 { format!("{value:.3}") } else { format!("{value:.2}") }
}

fn whole(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    format!("{}{}", if value < -0.5 { "-" } else { "" }, groups.join(","))
}
