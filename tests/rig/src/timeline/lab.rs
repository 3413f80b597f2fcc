//! The pictures of the race lab: what the shell's `lab` prints, drawn.
//!
//! ```text
//!            1     2     3     4              1        2        3        4
//!   CPU 0  .     .     .     ######   ──►                              ██████
//!   CPU 1  read--takes-------######           █ read ██ takes █████████ █████
//! ```
//! A lab has steps and no times. Each of its acts, first the old way and then ours, is a group of
//! rows, and all have one axis.

use anyhow::{Context, Result, ensure};

use super::chart::{Axis, Bar, Chart, Legend, Paint, Panel, Row, STEP, Sign, Text};
use super::trace::Ns;

/// The width of a column, and that of what stands before the first.
const COLUMN: usize = 6;
const NAMES: usize = 9;

/// The line before an act's table, which follows its heading.
const TABLE: &str = "  step CPU thread ";

/// What the colours mean.
const MEANINGS: [(Paint, &str); 5] = [
    (Paint::Green, "runs"),
    (Paint::Yellow, "waits"),
    (Paint::Blue, "stands still"),
    (Paint::Red, "goes wrong"),
    (Paint::Grey, "the CPU goes or comes, or is offline"),
];

/// What a column says of a CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    mark: String,
    state: Option<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    Waits,
    Still,
    /// It is offline.
    Off,
}

/// Returns the labs in what was `printed`: the name of each, such as `2006`, and its chart.
///
/// # Errors
///
/// A lab's title has no end, or it has no act with a timeline.
pub fn charts(printed: &str) -> Result<Vec<(String, Chart)>> {
    let mut labs: Vec<(String, Chart)> = Vec::new();
    let mut lines = printed.lines().peekable();
    let mut before = "";
    while let Some(line) = lines.next() {
        if let Some((name, _)) = line
            .strip_prefix("Lab ")
            .and_then(|rest| rest.split_once(", seed "))
        {
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
            ensure!(is_name, "{name} is no name of a lab");
            let title = lines.next().unwrap_or_default();
            let chart = chart(&format!("Lab {name}: {title}"));
            // Of several replays of a lab the last one counts.
            labs.retain(|(known, _)| known != name);
            labs.push((name.to_owned(), chart));
        } else if line.starts_with(TABLE)
            && let Some((_, chart)) = labs.last_mut()
        {
            let mut act = Vec::new();
            while let Some(line) = lines.next_if(|line| !is_outcome(line)) {
                act.push(line);
            }
            let outcome = lines.peek().map(|line| line.trim().trim_end_matches(':'));
            add_act(chart, before, &act, outcome)?;
        }
        if !line.trim().is_empty() {
            before = line;
        }
    }
    for (name, chart) in &mut labs {
        chart.legend = legend(chart);
        ensure!(
            !chart.rows.is_empty(),
            "lab {name} has no act with a timeline"
        );
    }
    Ok(labs)
}

fn is_outcome(line: &str) -> bool {
    line.starts_with("  IT FAILS") || line.starts_with("  It holds")
}

/// Says what the colours mean that are there.
fn legend(chart: &Chart) -> Vec<Legend> {
    let bars = || chart.panels.iter().flat_map(|panel| &panel.bars);
    let used = MEANINGS
        .iter()
        .filter(|(paint, _)| bars().any(|bar| bar.paint == *paint));
    let entry = |(paint, text): &(Paint, &str)| Legend {
        sign: Sign::Bar(*paint),
        text: (*text).to_owned(),
    };
    used.map(entry).collect()
}

fn chart(title: &str) -> Chart {
    Chart {
        title: title.to_owned(),
        description: "A row for each CPU, a column for each step.".to_owned(),
        lane: 20.0,
        axis: Axis::Steps,
        panels: vec![Panel::default()],
        ..Chart::default()
    }
}

/// Adds an act: its rows are a group.
fn add_act(chart: &mut Chart, heading: &str, act: &[&str], outcome: Option<&str>) -> Result<()> {
    let outcome = outcome.context("an act of a lab has no outcome")?;
    chart
        .description
        .push_str(&format!(" {heading}. {outcome}"));
    let rows = rows(act);
    ensure!(!rows.is_empty(), "the act has no timeline: {heading}");
    let verdict = outcome.split(':').next().unwrap_or_default();
    let mut group = Some(format!("{heading}: {}", verdict.to_lowercase()));
    for (name, columns) in rows {
        let row = chart.rows.len();
        chart.rows.push(Row {
            label: name,
            lanes: 1,
            group: group.take(),
            ..Row::default()
        });
        let panel = &mut chart.panels[0];
        panel.to = panel.to.max(columns.len() as Ns * STEP);
        panel.bars.extend(bars(&columns, row));
    }
    Ok(())
}

/// Returns the lines of an act's timeline, those that it goes on with joined: each with its name.
fn rows(act: &[&str]) -> Vec<(String, Vec<Column>)> {
    let mut rows: Vec<(String, Vec<Column>)> = Vec::new();
    let mut steps = 0..0;
    for line in act {
        if line.starts_with(&" ".repeat(NAMES)) {
            let numbers = line.split_whitespace().map(str::parse::<usize>);
            if let Ok(numbers) = numbers.collect::<Result<Vec<_>, _>>()
                && let (Some(first), Some(last)) = (numbers.first(), numbers.last())
            {
                steps = first - 1..*last;
            }
            continue;
        }
        let name = line.get(2..NAMES).map_or("", str::trim);
        if steps.is_empty() || !(name.starts_with("CPU ") || name == "others") {
            continue;
        }
        let columns = steps.clone().map(|step| {
            let from = NAMES + (step - steps.start) * COLUMN;
            let to = (from + COLUMN).min(line.len());
            column(line.get(from..to).unwrap_or_default())
        });
        match rows.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.extend(columns),
            None => rows.push((name.to_owned(), columns.collect())),
        }
    }
    rows
}

/// Returns whether `mark` says what a thread does, not that it waits or what has gone wrong.
fn is_act(mark: &str) -> bool {
    mark != "waits" && mark.chars().any(|letter| letter.is_ascii_lowercase())
}

/// Returns what the text of a column means: a mark, and what fills the rest.
fn column(text: &str) -> Column {
    let end = text.find(['-', '~', '#', ' ']).unwrap_or(text.len());
    let mark = text[..end].trim_end_matches('.');
    let state = match text[end..].chars().next() {
        // An idle CPU has a dot where nothing begins.
        _ if text.trim().is_empty() || mark == "(off)" => Some(State::Off),
        Some('-') => Some(State::Runs),
        // A thread that does something runs; it waits from then on.
        Some('~') if is_act(mark) => Some(State::Runs),
        Some('~') => Some(State::Waits),
        Some('#') => Some(State::Still),
        _ => None,
    };
    Column {
        mark: mark.to_owned(),
        state,
    }
}

/// Returns the bars of a row. What goes on without a new mark is one bar.
fn bars(columns: &[Column], row: usize) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    let mut last = None;
    for (step, column) in columns.iter().enumerate() {
        let from = step as Ns * STEP;
        let to = from + STEP;
        let goes_on =
            column.mark.is_empty() && last == Some(column.state) && column.state.is_some();
        last = Some(column.state);
        match bars.last_mut().filter(|_| goes_on) {
            Some(bar) => bar.to = to,
            None if column.mark.is_empty() && column.state.is_none() => (),
            None => bars.push(Bar {
                row,
                lane: 0,
                from,
                to,
                text: Text::Inside(column.mark.clone()),
                about: column.mark.clone(),
                paint: paint(column),
            }),
        }
    }
    bars
}

fn paint(column: &Column) -> Paint {
    let is_wrong =
        column.mark.len() > 1 && column.mark.bytes().all(|byte| byte.is_ascii_uppercase());
    match column.state {
        _ if is_wrong => Paint::Red,
        _ if column.mark.starts_with('(') => Paint::Grey,
        Some(State::Off) => Paint::Grey,
        Some(State::Waits) => Paint::Yellow,
        Some(State::Still) => Paint::Blue,
        Some(State::Runs) | None => Paint::Green,
    }
}

#[cfg(test)]
mod tests;
