//! Everything that was found, for programs.

use super::{Results, Row};
use crate::meter::Figures;
use crate::scenarios::RIVALS;
use std::fmt::Write;

pub(super) fn write(results: &Results) -> String {
    let object = |pairs: &[(&str, String)]| {
        let lines: Vec<_> = pairs.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect();
        format!("{{{}}}", lines.join(", "))
    };
    let rows: Vec<_> = results.rows.iter().map(row).collect();
    format!(
        "{{\n\"machine\": {},\n\"servers\": {},\n\"scenarios\": [\n{}\n]\n}}\n",
        object(&results.machine),
        object(&results.servers),
        rows.join(",\n")
    )
}

fn row(row: &Row) -> String {
    let scenario = &row.scenario;
    let bars = RIVALS.iter().zip(scenario.bars).filter(|(_, bar)| *bar > 0.0);
    let bars: Vec<_> = bars.map(|(name, bar)| format!("{}: {bar}", text(name))).collect();
    let cells: Vec<_> = row
        .cells
        .iter()
        .map(|cell| {
            let rounds: Vec<_> = cell.rounds.iter().map(|round| figures(round.as_ref())).collect();
            let failure = cell.failure.as_ref().map_or("null".to_owned(), |failure| text(failure));
            format!(
                "    {{\"server\": {}, \"failure\": {failure}, \"rounds\": [\n      {}\n    ]}}",
                text(cell.server),
                rounds.join(",\n      ")
            )
        })
        .collect();
    format!(
        "  {{\"name\": {}, \"title\": {}, \"figure\": {}, \"bars\": {{{}}}, \"servers\": [\n{}\n  ]}}",
        text(scenario.name),
        text(scenario.title),
        text(scenario.figure()),
        bars.join(", "),
        cells.join(",\n")
    )
}

fn figures(figures: Option<&Figures>) -> String {
    let Some(figures) = figures else { return "null".to_owned() };
    let all: Vec<_> = figures.0.iter().map(|(name, value)| format!("{}: {}", text(name), number(*value))).collect();
    format!("{{{}}}", all.join(", "))
}

/// JSON has no infinity.
fn number(value: f64) -> String {
    if value.is_finite() { format!("{}", (value * 1000.0).round() / 1000.0) } else { "null".to_owned() }
}

fn text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted + "\""
}
