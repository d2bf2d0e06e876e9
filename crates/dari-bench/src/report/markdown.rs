//! The tables that people read: dari beside its bars, everybody beside raw, latencies, memory, and what speaks for and
//! against the figures.

use super::{Results, Row};
use crate::load::Mode;
use crate::scenarios::RIVALS;
use crate::server::{DARI, RAW};
use crate::target::Offer;

pub(super) fn write(results: &Results) -> String {
    let (memory, time): (Vec<&Row>, Vec<&Row>) = results.rows.iter().partition(|row| row.scenario.is_memory());
    let compressed: Vec<&Row> = time.iter().copied().filter(|row| row.scenario.load.offer != Offer::Plain).collect();
    let secure: Vec<&Row> = time.iter().copied().filter(|row| results.without_tls(row).is_some()).collect();
    let slow: Vec<&Row> = time.iter().copied().filter(|row| row.scenario.load.mode == Mode::Slow).collect();
    let wire_size = |row: &Row, server: &str| median(row, server, "reply_bytes");
    let table = |rows: &[&Row], title: &str, cell: &dyn Fn(&Row, &str) -> Option<String>| {
        let table = || format!("## {title}\n\n{}", everybody(results, rows, cell));
        (!rows.is_empty()).then(table)
    };
    let parts = [
        Some(about(results)),
        (!time.is_empty()).then(|| format!("## dari and its bars\n\n{}", bars(&time))),
        table(
            &time,
            "Server CPU, us a message\n\nIn brackets: the median of the ratios to raw, round by round.",
            &|row, server| cell(row, server, RAW),
        ),
        table(&secure, "What TLS adds: wss, times the same over plain TCP", &|row, server| {
            let plain = results.without_tls(row)?.figure(server, "us")?;
            Some(format!("{:.2}", row.figure(server, "us")?.median / plain.median))
        }),
        table(&compressed, "Compressed answers, bytes on the wire", &|row, server| wire_size(row, server).map(whole)),
        table(&slow, "What a slow reader makes the server hold, bytes at most", &|row, server| {
            median(row, server, "held_bytes").map(whole)
        }),
        table(&time, "Latency, us: half of all volleys, 99 %, 99.9 %", &latency),
        table(&memory, "Memory, bytes a connection", &|row, server| median(row, server, "bytes").map(whole)),
        table(
            &time,
            "The load's own CPU, times the server's\n\n\
             Above 1 the server waits for the load: it sleeps more often, and is handed less at a time.",
            &load_share,
        ),
        failures(results),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n") + "\n"
}

fn median(row: &Row, server: &str, name: &str) -> Option<f64> {
    row.figure(server, name).map(|spread| spread.median)
}

fn load_share(row: &Row, server: &str) -> Option<String> {
    Some(format!("{:.2}", median(row, server, "load_us")? / median(row, server, "us")?))
}

fn about(results: &Results) -> String {
    let machine: Vec<_> = results.machine.iter().map(|(name, value)| format!("- {name}: {value}\n")).collect();
    let servers = results.servers.iter().filter(|(_, about)| !about.is_empty());
    let servers: Vec<_> = servers.map(|(name, about)| format!("- {name}: {about}\n")).collect();
    machine.concat() + &servers.concat()
}

/// A row for each scenario in which dari took part: what it takes of what its rivals take.
fn bars(rows: &[&Row]) -> String {
    let columns: Vec<_> = RIVALS.iter().map(|rival| format!("of {rival} (spread) | bar | ")).collect();
    let mut lines = vec![
        format!("| scenario | dari, us | {}", columns.concat().trim_end()),
        format!("|---|---|{}", "---|---|".repeat(RIVALS.len())),
    ];
    for row in rows {
        let Some(us) = row.figure(DARI, "us") else { continue };
        let cells = RIVALS.iter().zip(row.scenario.bars).map(|(rival, bar)| {
            let Some(ratio) = row.ratio(DARI, rival) else { return "- | - | ".to_owned() };
            let verdict = if bar > 0.0 { format!("{bar:.2}: {}", ratio.verdict(bar)) } else { "-".to_owned() };
            format!("{:.2} ({:.2} to {:.2}) | {verdict} | ", ratio.median, ratio.low, ratio.high)
        });
        let cells: String = cells.collect();
        lines.push(format!("| {} | {} | {}", row.scenario.title, micros(us.median), cells.trim_end()));
    }
    lines.join("\n") + "\n"
}

/// A row for each scenario, a column for each server.
fn everybody(results: &Results, rows: &[&Row], cell: &dyn Fn(&Row, &str) -> Option<String>) -> String {
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
    let us = micros(median(row, server, "us")?);
    let ratio = row.ratio(server, to).filter(|_| server != to);
    Some(ratio.map_or(us.clone(), |ratio| format!("{us} ({:.2})", ratio.median)))
}

fn latency(row: &Row, server: &str) -> Option<String> {
    let [p50, p99, p999] = ["p50_us", "p99_us", "p999_us"].map(|name| median(row, server, name).map(whole));
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
