//! The picture of a still point: each CPU from its arrival until it has left.

use std::collections::BTreeSet;

use super::chart::{Arrow, Band, Bar, Chart, Legend, Paint, Panel, Row, Sign, Text};
use super::scale::duration;
use super::trace::{Flow, Ns, Slice, Trace};

/// The groups of tracks that the picture shows for each CPU, from above, with their colours.
const GROUPS: [(&str, Paint); 3] = [
    ("threads", Paint::Grey),
    ("interrupts", Paint::Purple),
    (STOPS, Paint::Blue),
];

/// The group of stops.
pub const STOPS: &str = "still points";

/// Returns the picture of the first of those stops that had the most CPUs, of which those that no
/// walk was part of come first; `None` if the trace has no stop.
#[must_use]
pub fn chart(trace: &Trace) -> Option<Chart> {
    let stop = choose(trace)?;
    let (from, to) = (stop.begin(), stop.end());
    // What led to the stop is shown too, but not if it was long before.
    let earliest = from.saturating_sub(to - from);
    let led = trace.flows.iter().map(|flow| (flow.from.at, flow.to.at));
    let led = led.filter(|(began, led)| *began >= earliest && (from..=to).contains(led));
    let asked = led
        .map(|(began, _)| began)
        .min()
        .map_or(from, |asked| asked.min(from));
    let free = (to - asked) / 25;
    let mut panel = Panel {
        from: asked.saturating_sub(free),
        to: to + free,
        zero: asked,
        ..Panel::default()
    };
    let mut rows = Vec::new();
    let mut used = Vec::new();
    for (cpu, _) in &stop.stays {
        let mut lanes = 0;
        for (group, paint) in GROUPS {
            let track = trace.group(group).find(|track| track.cpu == *cpu);
            let visible = |slice: &&Slice| slice.to >= panel.from && slice.from <= panel.to;
            let slices = track.map(|track| &track.slices[..]).unwrap_or_default();
            let slices: Vec<&Slice> = slices.iter().filter(visible).collect();
            for slice in &slices {
                let paint = paint_of(slice, paint);
                used.push((paint, meaning(slice, group)));
                panel
                    .bars
                    .push(bar(slice, rows.len(), lanes + slice.depth, paint));
            }
            let deepest = slices.iter().map(|slice| slice.depth + 1).max();
            // A CPU without such slices has a free lane, so that all rows are alike.
            let of_all = trace
                .group(group)
                .any(|track| track.slices.iter().any(|slice| visible(&slice)));
            lanes += deepest.unwrap_or(usize::from(of_all));
        }
        rows.push(Row {
            label: format!("CPU {cpu}"),
            lanes,
            ..Row::default()
        });
    }
    panel.arrows = arrows(trace, &stop, panel.from, panel.to);
    let led: BTreeSet<_> = panel
        .arrows
        .iter()
        .map(|arrow| &arrow.about)
        .cloned()
        .collect();
    panel.bands.extend(stop.all_masked());
    let cpus = stop.stays.len();
    let mut chart = Chart {
        title: format!("A still point of {cpus} CPUs"),
        description: stop.description(),
        rows,
        lane: 22.0,
        panels: vec![panel],
        ..Chart::default()
    };
    for (paint, meaning) in used {
        if !meaning.is_empty() && !chart.legend.iter().any(|known| known.text == meaning) {
            chart.legend.push(Legend {
                sign: Sign::Bar(paint),
                text: meaning,
            });
        }
    }
    chart.legend.extend(led.into_iter().map(|text| Legend {
        sign: Sign::Arrow,
        text,
    }));
    Some(chart)
}

/// A stop: the CPUs that were in it, with their slices.
struct Stop<'a> {
    stays: Vec<(u32, &'a Slice)>,
    states: Vec<&'a Slice>,
}

fn choose(trace: &Trace) -> Option<Stop<'_>> {
    let mut stays: Vec<(u32, &Slice)> = Vec::new();
    for track in trace.group(STOPS) {
        let outer = track.slices.iter().filter(|slice| slice.depth == 0);
        stays.extend(outer.map(|slice| (track.cpu, slice)));
    }
    stays.sort_by_key(|(_, slice)| slice.from);
    let mut stops: Vec<Stop> = Vec::new();
    for (cpu, stay) in stays {
        match stops.last_mut() {
            // All CPUs of a stop are in it at one time.
            Some(stop) if stay.from < stop.leaves() => stop.stays.push((cpu, stay)),
            _ => stops.push(Stop {
                stays: vec![(cpu, stay)],
                states: Vec::new(),
            }),
        }
    }
    let is_of_walk = |stop: &Stop| {
        let mut walks = trace.group("walks").flat_map(|track| &track.slices);
        walks.any(|walk| walk.depth == 0 && walk.from <= stop.begin() && stop.end() <= walk.to)
    };
    let rank = |stop: &Stop| (stop.stays.len(), !is_of_walk(stop));
    // The first of the best, not the last.
    let mut stop = stops.into_iter().rev().max_by_key(rank)?;
    stop.stays.sort_by_key(|(cpu, _)| *cpu);
    for track in trace.group(STOPS) {
        let inner = track.slices.iter().filter(|slice| slice.depth > 0);
        let (from, to) = (stop.begin(), stop.end());
        stop.states
            .extend(inner.filter(|slice| slice.from >= from && slice.to <= to));
    }
    Some(stop)
}

impl Stop<'_> {
    fn begin(&self) -> Ns {
        self.stays
            .iter()
            .map(|(_, stay)| stay.from)
            .min()
            .unwrap_or(0)
    }

    fn end(&self) -> Ns {
        self.stays
            .iter()
            .map(|(_, stay)| stay.to)
            .max()
            .unwrap_or(0)
    }

    /// Returns when the first CPU leaves.
    fn leaves(&self) -> Ns {
        self.stays
            .iter()
            .map(|(_, stay)| stay.to)
            .min()
            .unwrap_or(0)
    }

    /// Returns when nothing else moved: from the last CPU's masking, or its arrival if the trace
    /// has no states, until the first CPU leaves.
    fn all_masked(&self) -> Option<Band> {
        let running = self.states.iter().filter(|state| state.name == "run");
        let arrived = self.stays.iter().map(|(_, stay)| stay.from).max();
        let (from, label) = match running.map(|state| state.from).max() {
            Some(from) => (from, "the still point: interrupts are off on all CPUs"),
            None => (arrived?, "all CPUs have stopped"),
        };
        (from < self.leaves()).then(|| Band {
            from,
            to: self.leaves(),
            label: label.to_owned(),
        })
    }

    fn description(&self) -> String {
        let mut text = String::from("A row for each CPU, time from left to right.");
        let begin = self.begin();
        for (cpu, stay) in &self.stays {
            let (after, long) = (duration(stay.from - begin), duration(stay.to - stay.from));
            text.push_str(&format!(
                " CPU {cpu} arrives at {after} and stays for {long}."
            ));
        }
        text
    }
}

/// Returns the arrows between the CPUs of the stop.
fn arrows(trace: &Trace, stop: &Stop, from: Ns, to: Ns) -> Vec<Arrow> {
    let row = |track: usize| {
        let cpu = trace.tracks.get(track)?.cpu;
        stop.stays.iter().position(|(of, _)| *of == cpu)
    };
    let visible = trace
        .flows
        .iter()
        .filter(|flow| flow.from.at >= from && flow.to.at <= to);
    let arrow = |flow: &Flow| {
        Some(Arrow {
            from: (row(flow.from.track)?, flow.from.at),
            to: (row(flow.to.track)?, flow.to.at),
            about: flow.name.clone(),
        })
    };
    visible.filter_map(arrow).collect()
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

/// Returns the colour of a slice: that of its group, but for the states of a stop.
fn paint_of(slice: &Slice, of_group: Paint) -> Paint {
    match slice.name.as_str() {
        _ if !slice.ok => Paint::Red,
        "prepare" => Paint::Green,
        "disable_irq" => Paint::Orange,
        "run" => Paint::Yellow,
        _ => of_group,
    }
}

/// Returns what the legend says of such slices.
fn meaning(slice: &Slice, group: &str) -> String {
    let text = match slice.name.as_str() {
        _ if !slice.ok => "given up",
        "stop" => "in the stop",
        "prepare" => "waits for the others",
        "disable_irq" => "masks its interrupts",
        "run" => "interrupts off; one CPU runs the function",
        _ if group == "threads" => "a thread",
        _ if group == "interrupts" => "an interrupt",
        _ => "",
    };
    text.to_owned()
}
