//! What a picture shows: rows of bars over stretches of time.

use super::trace::{Instant, Ns};

/// A picture. Its rows are shared by its panels, which stand side by side on one scale.
#[derive(Debug, Default)]
pub struct Chart {
    pub title: String,
    /// What the picture shows, for readers who don't see it.
    pub description: String,
    pub rows: Vec<Row>,
    /// The height of a lane.
    pub lane: f64,
    pub axis: Axis,
    pub panels: Vec<Panel>,
    /// What the colours mean.
    pub legend: Vec<Legend>,
    /// A line below the picture.
    pub note: String,
}

/// What an axis counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Axis {
    #[default]
    Time,
    /// Steps of [`STEP`] each, from 1 on.
    Steps,
}

/// The length of a step.
pub const STEP: Ns = 1000;

/// What something in the picture means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legend {
    pub sign: Sign,
    pub text: String,
}

/// A thing whose meaning a legend tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Bar(Paint),
    Mark(Paint),
    Arrow,
}

/// A line of the picture.
#[derive(Debug, Default)]
pub struct Row {
    pub label: String,
    /// Bars in bars lie in lanes, one below the other.
    pub lanes: usize,
    /// The names of the lanes, if they have any.
    pub names: Vec<String>,
    /// Whether the label is more important than those of others, or less.
    pub rank: Rank,
    /// The name of the rows from here on, for the first of them.
    pub group: Option<String>,
}

/// How important a label is.
#[derive(Clone, Copy, Debug, Default)]
pub enum Rank {
    Strong,
    #[default]
    Plain,
    Quiet,
}

/// A stretch of time.
#[derive(Debug, Default)]
pub struct Panel {
    pub heading: String,
    pub from: Ns,
    pub to: Ns,
    /// What the axis counts from.
    pub zero: Ns,
    pub bars: Vec<Bar>,
    pub bands: Vec<Band>,
    pub arrows: Vec<Arrow>,
}

/// Something in a lane that takes time; a mark, if it takes none.
#[derive(Clone, Debug)]
pub struct Bar {
    pub row: usize,
    pub lane: usize,
    pub from: Ns,
    pub to: Ns,
    /// What stands in it, or beside it.
    pub text: Text,
    /// What it is, for a reader that points at it.
    pub about: String,
    pub paint: Paint,
}

impl Bar {
    /// Returns a mark at an `instant` of a track.
    pub fn mark(row: usize, instant: &Instant) -> Bar {
        Bar {
            row,
            lane: 0,
            from: instant.at,
            to: instant.at,
            text: Text::Inside(String::new()),
            about: instant.name.clone(),
            paint: Paint::Red,
        }
    }
}

/// The text of a bar. What doesn't fit is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Only in the bar.
    Inside(String),
    /// In the bar, or beside it where there is place, or without its last word in the bar.
    Near(String),
    /// Beside the bar.
    Beside(String),
}

/// A stretch of time that is marked in all rows.
#[derive(Clone, Debug)]
pub struct Band {
    pub from: Ns,
    pub to: Ns,
    pub label: String,
}

/// One thing that leads to another.
#[derive(Clone, Debug)]
pub struct Arrow {
    pub from: Point,
    pub to: Point,
    pub about: String,
}

/// A place in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub row: usize,
    pub lane: usize,
    pub at: Ns,
}

/// A colour, by what it stands for in all pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Paint {
    Blue,
    Orange,
    Green,
    Purple,
    Teal,
    Yellow,
    Grey,
    Red,
}

impl Paint {
    pub const ALL: [Paint; 8] = [
        Paint::Blue,
        Paint::Orange,
        Paint::Green,
        Paint::Purple,
        Paint::Teal,
        Paint::Yellow,
        Paint::Grey,
        Paint::Red,
    ];

    /// Returns the class of the style sheet.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Paint::Blue => "blue",
            Paint::Orange => "orange",
            Paint::Green => "green",
            Paint::Purple => "purple",
            Paint::Teal => "teal",
            Paint::Yellow => "yellow",
            Paint::Grey => "grey",
            Paint::Red => "red",
        }
    }

    /// Returns the colours of the inside and of the edge, on a light ground and on a dark one.
    #[must_use]
    pub fn colours(self) -> [(&'static str, &'static str); 2] {
        match self {
            Paint::Blue => [("#b6e3ff", "#0969da"), ("#1b4b91", "#58a6ff")],
            Paint::Orange => [("#ffd8b5", "#bc4c00"), ("#7a3a10", "#f0883e")],
            Paint::Green => [("#aceebb", "#1a7f37"), ("#1b5a2d", "#3fb950")],
            Paint::Purple => [("#e2c5ff", "#8250df"), ("#4b2a86", "#a371f7")],
            Paint::Teal => [("#b3ecec", "#0b7285"), ("#0b4a55", "#3bc9db")],
            Paint::Yellow => [("#fae17d", "#9a6700"), ("#6b4a00", "#d29922")],
            Paint::Grey => [("#e3e8ed", "#818b98"), ("#30363d", "#7d8590")],
            Paint::Red => [("#ffcecb", "#cf222e"), ("#7d1f22", "#f85149")],
        }
    }
}
