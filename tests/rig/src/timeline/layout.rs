//! Where the parts of a picture are.
//!
//! ```text
//!   title
//!              heading of a panel      heading of a panel
//!              a band's label
//!   row        ████ ▌ text             ██ text
//!   row            ███                   ███
//!              0    2 µs   4 µs        0    2 µs
//!   ■ legend   ■ legend
//!   note
//! ```

use super::chart::{Chart, Panel};
use super::labels::width;
use super::scale::Scale;

/// The width of a picture.
pub const WIDTH: f64 = 880.0;
/// What is free at its edges.
pub const MARGIN: f64 = 14.0;
/// The height of a line of text.
pub const LINE: f64 = 16.0;
/// What is free between two rows.
pub const ROW_GAP: f64 = 3.0;
/// What is free between the labels of rows and the first panel.
pub const LABEL_GAP: f64 = 12.0;
/// The width of the sign before a text of the legend.
pub const SIGN: f64 = 18.0;

/// What is free between two panels.
const BETWEEN: f64 = 26.0;
/// The height of the title.
const TITLE: f64 = 36.0;
/// The height of the axis.
const AXIS: f64 = 26.0;
/// What is free between two texts of the legend.
const BETWEEN_SIGNS: f64 = 18.0;

/// The places of the parts of a chart.
pub struct Layout<'a> {
    pub chart: &'a Chart,
    /// Where the names of lanes begin.
    pub names: f64,
    /// The scale of each panel.
    pub scales: Vec<Scale>,
    /// The base line of the panels' headings, and that of the labels of their bands.
    pub headings: [f64; 2],
    /// The upper edge of each row.
    pub rows: Vec<f64>,
    /// The lower edge of the last row.
    pub bottom: f64,
    /// The numbers of the entries in each line of the legend.
    pub legend: Vec<Vec<usize>>,
    /// The lines of the note.
    pub note: Vec<String>,
    pub height: f64,
}

impl<'a> Layout<'a> {
    /// Returns the places of the parts of `chart`.
    pub fn new(chart: &'a Chart) -> Layout<'a> {
        let has = |test: fn(&Panel) -> bool| f64::from(u8::from(chart.panels.iter().any(test)));
        let heading = TITLE + LINE * has(|panel| !panel.heading.is_empty());
        let bands = heading + LINE * has(|panel| !panel.bands.is_empty());
        let mut bottom = bands + 4.0;
        let mut rows = Vec::new();
        for row in &chart.rows {
            if row.group.is_some() {
                bottom += LINE + 4.0;
            }
            rows.push(bottom);
            bottom += chart.lane * row.lanes as f64 + ROW_GAP;
        }
        let entries = chart.legend.iter();
        let entries = entries.map(|entry| SIGN + width(&entry.text) + BETWEEN_SIGNS);
        let legend = lines(entries);
        let note: Vec<String> = chart.note.lines().flat_map(wrap).collect();
        let below = LINE * (legend.len() + note.len()) as f64;
        // A label that is longer than that is cut.
        let labels = chart.rows.iter().map(|row| &row.label);
        let names = MARGIN + longest(labels).min(WIDTH / 3.0) + LABEL_GAP;
        let lanes = chart.rows.iter().flat_map(|row| &row.names);
        Layout {
            chart,
            names,
            scales: scales(chart, names + longest(lanes)),
            headings: [heading - 5.0, bands - 5.0],
            rows,
            bottom,
            legend,
            note,
            height: bottom + AXIS + below + 8.0,
        }
    }

    /// Returns the base line of the first line below the axis.
    pub fn below(&self) -> f64 {
        self.bottom + AXIS + 12.0
    }

    /// Returns the place for the labels of rows.
    pub fn label_room(&self) -> f64 {
        self.names - MARGIN - LABEL_GAP / 2.0
    }

    /// Returns where the last panel ends.
    pub fn right(&self) -> f64 {
        self.scales.last().map_or(WIDTH - MARGIN, Scale::right)
    }

    /// Returns the height of a row.
    pub fn row_height(&self, row: usize) -> f64 {
        self.chart.lane * self.chart.rows[row].lanes as f64
    }
}

/// Returns the width of the longest of some texts.
fn longest<'a>(texts: impl Iterator<Item = &'a String>) -> f64 {
    let widths = texts.map(|text| width(text));
    widths.fold(0.0, f64::max)
}

/// Returns the scale of each panel: beside one another, from `left` on.
fn scales(chart: &Chart, mut left: f64) -> Vec<Scale> {
    if chart.rows.iter().any(|row| !row.names.is_empty()) {
        left += LABEL_GAP;
    }
    let gaps = BETWEEN * chart.panels.len().saturating_sub(1) as f64;
    let time: u64 = chart.panels.iter().map(|panel| panel.to - panel.from).sum();
    let per_ns = (WIDTH - MARGIN - left - gaps) / time.max(1) as f64;
    let scale = |panel: &Panel| {
        let (from, to) = (panel.from, panel.to);
        let scale = Scale {
            from,
            to,
            left,
            per_ns,
        };
        left = scale.right() + BETWEEN;
        scale
    };
    chart.panels.iter().map(scale).collect()
}

/// Breaks things of these widths into lines, by their numbers.
fn lines(widths: impl Iterator<Item = f64>) -> Vec<Vec<usize>> {
    let mut lines: Vec<Vec<usize>> = Vec::new();
    let mut x = f64::INFINITY;
    for (number, wide) in widths.enumerate() {
        if x + wide > WIDTH - MARGIN {
            lines.push(Vec::new());
            x = MARGIN;
        }
        x += wide;
        if let Some(line) = lines.last_mut() {
            line.push(number);
        }
    }
    lines
}

/// Breaks a text into lines at its spaces.
fn wrap(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let lines = lines(words.iter().map(|word| width(word) + width(" ")));
    let join = |line: Vec<usize>| {
        let words: Vec<&str> = line.into_iter().map(|number| words[number]).collect();
        words.join(" ")
    };
    lines.into_iter().map(join).collect()
}
