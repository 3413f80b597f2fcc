//! The picture of a still point: each CPU from its arrival until it has left.
//!
//! ```text
//!   CPU 0  thread     ███ main ██████ stopper/0 ██████████
//!          interrupt     │
//!          stop          │       █ prepare ██ off ██ run █
//!   CPU 1  thread     ███│ idle ██████ stopper/1 █████████
//!          interrupt     └──►█─┘
//!          stop                     █ prepare █ off █ run
//! ```

use super::chart::{Arrow, Bar, Chart, Legend, Paint, Panel, Point, Row, Sign, Text};
use super::scale::duration;
use super::stays::{STOPS, Stop};
use super::trace::{End, Slice, Trace, Track};

/// The groups of tracks that the picture shows for each CPU, from above, with the names of their
/// lanes.
const GROUPS: [(&str, &str); 3] = [
    ("threads", "thread"),
    ("interrupts", "interrupt"),
    (STOPS, "stop"),
];

/// Returns the picture of a stop of as many CPUs as there is one; `None` if the trace has no stop.
#[must_use]
pub fn chart(trace: &Trace) -> Option<Chart> {
    let stop = Stop::choose(trace)?;
    let (asked, end) = (stop.asked(trace), stop.end());
    let free = (end - asked) / 25;
    let panel = Panel {
        from: asked.saturating_sub(free),
        to: end + free,
        zero: asked,
        bands: stop.all_masked().into_iter().collect(),
        ..Panel::default()
    };
    let picture = Picture::new(trace, stop, panel);
    let chart = Chart {
        title: format!("A still point of {} CPUs", picture.stop.stays.len()),
        description: picture.stop.description(),
        rows: picture.rows(),
        lane: if picture.lanes() > 1 { 18.0 } else { 22.0 },
        ..Chart::default()
    };
    let (panel, legend) = picture.draw();
    Some(Chart {
        panels: vec![panel],
        legend,
        ..chart
    })
}

struct Picture<'a> {
    trace: &'a Trace,
    stop: Stop<'a>,
    panel: Panel,
    /// How many lanes each group has, as many for each CPU.
    lanes: [usize; GROUPS.len()],
    /// How deep the outermost slices lie that are shown of each group.
    outermost: [usize; GROUPS.len()],
}

impl<'a> Picture<'a> {
    fn new(trace: &'a Trace, stop: Stop<'a>, panel: Panel) -> Picture<'a> {
        let mut picture = Picture {
            trace,
            // What the states show, the time in the stop need not show too.
            outermost: [0, 0, usize::from(!stop.states.is_empty())],
            stop,
            panel,
            lanes: [0; GROUPS.len()],
        };
        picture.lanes = [0, 1, 2].map(|group| {
            let tracks = trace.group(GROUPS[group].0);
            let slices = tracks.flat_map(|track| picture.shown(track, group));
            let deepest = slices.map(|slice| slice.depth + 1).max().unwrap_or(0);
            deepest.saturating_sub(picture.outermost[group])
        });
        picture
    }

    fn lanes(&self) -> usize {
        self.lanes.iter().sum()
    }

    fn rows(&self) -> Vec<Row> {
        let row = |(cpu, _): &(u32, &Slice)| Row {
            label: format!("CPU {cpu}"),
            lanes: self.lanes(),
            names: self.names(),
            ..Row::default()
        };
        self.stop.stays.iter().map(row).collect()
    }

    /// Returns the names of the lanes of a row, if there is more than one.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for ((_, name), lanes) in GROUPS.iter().zip(self.lanes) {
            names.extend((0..lanes).map(|lane| if lane == 0 { *name } else { "" }));
        }
        if names.len() < 2 {
            names.clear();
        }
        names.into_iter().map(str::to_owned).collect()
    }

    /// Returns the slices of a track that are shown.
    fn shown(&self, track: &'a Track, group: usize) -> impl Iterator<Item = &'a Slice> + use<'a> {
        let (from, to) = (self.panel.from, self.panel.to);
        let outermost = self.outermost[group];
        let slices = track.slices.iter();
        slices.filter(move |slice| slice.depth >= outermost && slice.to >= from && slice.from <= to)
    }

    /// Returns the row of a track, and its group.
    fn place(&self, track: &Track) -> Option<(usize, usize)> {
        let group = GROUPS.iter().position(|(group, _)| *group == track.group)?;
        let mut cpus = self.stop.stays.iter().map(|(cpu, _)| *cpu);
        Some((cpus.position(|cpu| cpu == track.cpu)?, group))
    }

    /// Returns the lane of the slices of a group at this depth.
    fn lane(&self, group: usize, depth: usize) -> usize {
        let above = self.lanes[..group].iter().sum::<usize>();
        above + depth.saturating_sub(self.outermost[group])
    }

    fn point(&self, end: End) -> Option<Point> {
        let track = self.trace.tracks.get(end.track)?;
        let (row, group) = self.place(track)?;
        let lane = self.lane(group, track.depth_at(end.at));
        Some(Point {
            row,
            lane,
            at: end.at,
        })
    }

    /// Returns the panel with all that is in it, and what its colours and arrows mean.
    fn draw(mut self) -> (Panel, Vec<Legend>) {
        let mut bars = Vec::new();
        let mut legend: Vec<Legend> = Vec::new();
        let mut add = |sign, text: &str| {
            let is_known = legend.iter().any(|entry| entry.text == text);
            if !is_known && !text.is_empty() {
                let text = text.to_owned();
                legend.push(Legend { sign, text });
            }
        };
        for track in &self.trace.tracks {
            let Some((row, group)) = self.place(track) else {
                continue;
            };
            for slice in self.shown(track, group) {
                let (paint, meaning) = look(slice, GROUPS[group].0);
                add(Sign::Bar(paint), meaning);
                bars.push(bar(slice, row, self.lane(group, slice.depth), paint));
            }
        }
        let inside = |end: End| self.panel.from <= end.at && end.at <= self.panel.to;
        let mut arrows = Vec::new();
        for flow in &self.trace.flows {
            if inside(flow.from)
                && inside(flow.to)
                && let (Some(from), Some(to)) = (self.point(flow.from), self.point(flow.to))
            {
                let about = flow.name.clone();
                add(Sign::Arrow, led(&about));
                arrows.push(Arrow { from, to, about });
            }
        }
        self.panel.bars = bars;
        self.panel.arrows = arrows;
        (self.panel, legend)
    }
}

fn bar(slice: &Slice, row: usize, lane: usize, paint: Paint) -> Bar {
    let long = duration(slice.to - slice.from);
    Bar {
        row,
        lane,
        from: slice.from,
        to: slice.to,
        text: Text::Inside(slice.name.clone()),
        about: format!("{}: {long}", slice.name),
        paint,
    }
}

/// Returns the colour of a slice, and what it means. The legend has no word for what says its name.
fn look(slice: &Slice, group: &str) -> (Paint, &'static str) {
    match (group, slice.name.as_str()) {
        _ if !slice.ok => (Paint::Red, "given up"),
        ("threads", "idle") => (Paint::Grey, ""),
        ("threads", _) => (Paint::Purple, ""),
        ("interrupts", _) => (Paint::Teal, ""),
        (_, "prepare") => (Paint::Yellow, "waits for the other CPUs"),
        (_, "disable_irq") => (Paint::Orange, "masks its interrupts"),
        (_, "run") => (Paint::Green, "one CPU runs the function, the others wait"),
        (_, "exit") => (Paint::Blue, "leaves"),
        (_, "stop") => (Paint::Blue, "in the stop"),
        _ => (Paint::Blue, ""),
    }
}

/// Returns what the legend says of arrows with this name.
fn led(name: &str) -> &str {
    match name {
        "sgi" | "woken" => "an SGI raises an interrupt, which wakes a thread",
        other => other,
    }
}
