//! The plots: bars on a logarithmic axis, a group for each scenario, a bar for each server.

use super::{Results, Row, Spread};
use crate::Failure;
use crate::server::{RAW, UWS};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

const WIDTH: u32 = 900;
/// Where names of scenarios end, and bars begin.
const LEFT: i32 = 270;
const RIGHT: i32 = 850;
const TOP: i32 = 96;
const BOTTOM: u32 = 30;
const BAR: i32 = 11;
const GAP: i32 = 14;
/// Colours that are told apart without red and green.
const COLOURS: [RGBColor; 9] = [
    RGBColor(150, 150, 150),
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(240, 200, 110),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(110, 80, 60),
];

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(super) fn write(results: &Results, folder: &Path) -> Result<(), Failure> {
    let (memory, time): (Vec<&Row>, Vec<&Row>) = results.rows.iter().partition(|row| row.scenario.is_memory());
    let (limited, other): (Vec<&Row>, Vec<&Row>) = time.iter().partition(|row| row.figure(RAW, "us").is_some());
    let beside =
        |rival: &'static str| move |row: &Row, server: &str| row.ratio(server, rival).filter(|_| server != rival);
    let title = "Server CPU a message, times that of a raw TCP echo";
    draw(results, &limited, beside(RAW), title, true, &folder.join("cpu.svg"))?;
    let title = "What a raw TCP echo can not do: server CPU a message, times that of uWebSockets";
    draw(results, &other, beside(UWS), title, true, &folder.join("cpu-other.svg"))?;
    let latency = |row: &Row, server: &str| row.figure(server, "p99_us");
    draw(results, &time, latency, "Latency, us: 99 % of volleys take no longer", false, &folder.join("latency.svg"))?;
    let bytes = |row: &Row, server: &str| row.figure(server, "bytes");
    draw(results, &memory, bytes, "Memory, bytes a connection", false, &folder.join("memory.svg"))
}

fn draw(
    results: &Results,
    rows: &[&Row],
    value: impl Fn(&Row, &str) -> Option<Spread>,
    title: &str,
    is_ratio: bool,
    path: &Path,
) -> Result<(), Failure> {
    let names: Vec<&str> = results.servers.iter().map(|(name, _)| *name).collect();
    // What a logarithm can show; memory may also be given back.
    let shown = |row: &Row, server: &str| value(row, server).filter(|spread| spread.median > 0.0);
    let bars: Vec<(&Row, Vec<(usize, Spread)>)> = rows
        .iter()
        .map(|row| (*row, (0..names.len()).filter_map(|nth| Some((nth, shown(row, names[nth])?))).collect()))
        .filter(|(_, bars): &(_, Vec<_>)| !bars.is_empty())
        .collect();
    let Some((low, high)) = range(bars.iter().flat_map(|(_, bars)| bars.iter().map(|(_, spread)| *spread))) else {
        // One of an earlier run would be taken for one of this.
        return if path.exists() { Ok(std::fs::remove_file(path)?) } else { Ok(()) };
    };
    let low = if is_ratio { low.min(1.0) } else { low / 2.0 };
    let count: usize = bars.iter().map(|(_, bars)| bars.len()).sum();
    let body = u32::try_from(count * BAR as usize + bars.len() * GAP as usize)?;
    let height = TOP.unsigned_abs() + body + BOTTOM;
    let canvas = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    canvas.fill(&WHITE)?;
    text(&canvas, title, (20, 14), 18, HPos::Left)?;
    let is_shown = |nth: &usize| bars.iter().any(|(_, bars)| bars.iter().any(|(other, _)| other == nth));
    legend(&canvas, (0..names.len()).filter(is_shown).map(|nth| (names[nth], COLOURS[nth % COLOURS.len()])))?;
    #[expect(clippy::cast_possible_truncation, reason = "a place on the canvas")]
    let place = |value: f64| {
        let share = (value.clamp(low, high).ln() - low.ln()) / (high.ln() - low.ln());
        LEFT + (share * f64::from(RIGHT - LEFT)).round() as i32
    };
    let bottom = TOP + i32::try_from(body)?;
    for mark in marks(low, high) {
        let x = place(mark);
        canvas.draw(&PathElement::new([(x, TOP), (x, bottom)], RGBColor(215, 215, 215)))?;
        for y in [TOP - 10, bottom + 14] {
            text(&canvas, &label(mark), (x, y), 12, HPos::Center)?;
        }
    }
    // A ratio is more than 1, or less.
    let from = place(if is_ratio { 1.0 } else { low });
    let mut y = TOP + GAP / 2;
    for (row, bars) in &bars {
        let middle = y + BAR * i32::try_from(bars.len())? / 2;
        text(&canvas, row.scenario.title, (LEFT - 8, middle), 13, HPos::Right)?;
        for (nth, spread) in bars {
            let colour = COLOURS[nth % COLOURS.len()];
            let to = place(spread.median);
            canvas.draw(&Rectangle::new([(from.min(to), y), (from.max(to), y + BAR - 1)], colour.filled()))?;
            let line = y + BAR / 2;
            canvas.draw(&PathElement::new([(place(spread.low), line), (place(spread.high), line)], BLACK))?;
            text(&canvas, &label(spread.median), (place(spread.high).max(from) + 4, line), 11, HPos::Left)?;
            y += BAR;
        }
        y += GAP;
    }
    // What all are compared with.
    if is_ratio {
        canvas.draw(&PathElement::new([(from, TOP), (from, bottom)], BLACK))?;
    }
    canvas.present()?;
    Ok(())
}

fn legend<'a>(canvas: &Canvas<'_>, names: impl Iterator<Item = (&'a str, RGBColor)>) -> Result<(), Failure> {
    let (mut x, mut y) = (20, 42);
    for (name, colour) in names {
        let width = 24 + 7 * i32::try_from(name.len())?;
        if x + width > RIGHT {
            (x, y) = (20, y + 18);
        }
        canvas.draw(&Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()))?;
        text(canvas, name, (x + 14, y), 12, HPos::Left)?;
        x += width;
    }
    Ok(())
}

fn text(canvas: &Canvas<'_>, text: &str, at: (i32, i32), size: i32, side: HPos) -> Result<(), Failure> {
    let style = ("sans-serif", size).into_text_style(canvas).pos(Pos::new(side, VPos::Center));
    canvas.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

/// From a little less than the smallest to a little more than the largest: nothing if there is none.
fn range(spreads: impl Iterator<Item = Spread>) -> Option<(f64, f64)> {
    let spreads: Vec<Spread> = spreads.collect();
    let low = spreads.iter().map(|spread| spread.median).min_by(f64::total_cmp)?;
    let high = spreads.iter().map(|spread| spread.high).max_by(f64::total_cmp)?;
    Some((low * 0.9, high * 1.2))
}

/// 1, 2 and 5 of every power of ten between the two.
fn marks(low: f64, high: f64) -> Vec<f64> {
    let mut marks = Vec::new();
    let mut power = 10f64.powf(low.log10().floor());
    while power <= high {
        marks.extend(
            [1.0, 2.0, 5.0].map(|digit| digit * power).into_iter().filter(|mark| (low..=high).contains(mark)),
        );
        power *= 10.0;
    }
    // Where there are many, powers of ten alone.
    if marks.len() > 12 {
        marks.retain(|mark| (mark.log10() - mark.log10().round()).abs() < 1e-9);
    }
    marks
}

fn label(value: f64) -> String {
    match value {
        1e6.. if value % 1e6 != 0.0 => format!("{:.1}M", value / 1e6),
        1e6.. => format!("{}M", value / 1e6),
        1e4.. => format!("{:.0}k", value / 1e3),
        10.0.. => format!("{value:.0}"),
        _ if value.fract() == 0.0 => format!("{value}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{:.2}", value).trim_end_matches('0').to_owned(),
    }
}
