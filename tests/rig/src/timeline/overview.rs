//! The picture of a whole trace: each track from the first event to the last.

use super::chart::{Arrow, Bar, Chart, Paint, Panel, Point, Row, Text};
use super::scale::duration;
use super::trace::{End, Slice, Trace, Track};

/// The colours of slices, by their depth.
const PAINTS: [Paint; 4] = [Paint::Blue, Paint::Orange, Paint::Green, Paint::Purple];

/// Returns the picture of all tracks that have something; `None` if the trace is empty.
#[must_use]
pub fn chart(trace: &Trace) -> Option<Chart> {
    let slices = || trace.tracks.iter().flat_map(|track| &track.slices);
    let from = slices().map(|slice| slice.from).min()?;
    let to = slices().map(|slice| slice.to).max()?.max(from + 1);
    let mut panel = Panel {
        from,
        to,
        zero: from,
        ..Panel::default()
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut row_of = vec![None; trace.tracks.len()];
    let mut group = "";
    for (number, track) in trace.tracks.iter().enumerate() {
        let Some(deepest) = track.slices.iter().map(|slice| slice.depth).max() else {
            continue;
        };
        row_of[number] = Some(rows.len());
        panel.bars.extend(bars(track, rows.len()));
        rows.push(Row {
            label: format!("CPU {}", track.cpu),
            lanes: deepest + 1,
            group: (track.group != group).then(|| track.group.clone()),
            ..Row::default()
        });
        group = &track.group;
    }
    for flow in &trace.flows {
        let point = |end: End| {
            let track = &trace.tracks[end.track];
            Some(Point {
                row: row_of[end.track]?,
                lane: track.depth_at(end.at),
                at: end.at,
            })
        };
        if let (Some(from), Some(to)) = (point(flow.from), point(flow.to)) {
            let about = flow.name.clone();
            panel.arrows.push(Arrow { from, to, about });
        }
    }
    Some(Chart {
        title: format!("A run of Stillpoint: {} µs", (to - from) / 1000),
        description: format!(
            "{} tracks with {} slices, time from left to right.",
            rows.len(),
            trace.slices()
        ),
        rows,
        lane: 14.0,
        panels: vec![panel],
        ..Chart::default()
    })
}

fn bars(track: &Track, row: usize) -> impl Iterator<Item = Bar> {
    let bar = move |slice: &Slice| Bar {
        row,
        lane: slice.depth,
        from: slice.from,
        to: slice.to,
        text: Text::Inside(slice.name.clone()),
        about: format!("{}: {}", slice.name, duration(slice.to - slice.from)),
        paint: if slice.ok {
            PAINTS[slice.depth % PAINTS.len()]
        } else {
            Paint::Red
        },
    };
    let marks = track.instants.iter();
    let marks = marks.map(move |instant| Bar::mark(row, instant));
    track.slices.iter().map(bar).chain(marks)
}
