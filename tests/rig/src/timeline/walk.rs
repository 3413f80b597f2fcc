//! The picture of a CPU that goes and comes.
//!
//! ```text
//!   offline        ▐ return      call ▌
//!   prep:threads  ▐                    ▌
//!   init:cpu     ▐                      ▌
//!   sched:active▐                        ▌
//!   online   call ▌                     ▐ return
//! ```
//! A row is a step of the table, in the table's order, or what lies between two of them: so the
//! walk down goes up in the picture, and the walk up goes down.

use super::chart::{Band, Bar, Chart, Legend, Paint, Panel, Sign, Text};
use super::scale::{duration, microseconds};
use super::table::{Table, Walk, is_step, short};
use super::trace::{Instant, Slice, Trace, Track};

/// Returns the picture of the first CPU that went and then came; of one that only went or only came,
/// if there is no other. `None` if the trace has no walk.
#[must_use]
pub fn chart(trace: &Trace) -> Option<Chart> {
    let (track, walks) = choose(trace)?;
    let table = Table::of(&walks);
    let mut chart = Chart {
        title: title(track.cpu, &walks),
        description: description(&walks),
        rows: table.rows(),
        lane: 15.0,
        ..Chart::default()
    };
    for walk in &walks {
        chart.panels.push(panel(track, walk, &table));
    }
    chart.legend = legend(track, &walks);
    chart.note = "The number beside a step is its time in microseconds.".to_owned();
    Some(chart)
}

/// Returns what a walk looks like.
fn panel(track: &Track, walk: &Walk, table: &Table) -> Panel {
    let (from, to) = (walk.whole.from, walk.whole.to);
    let what = match (walk.whole.name.as_str(), walk.whole.ok) {
        ("down", true) => "↑ it goes",
        ("down", false) => "↑ it is to go, and is brought back",
        (_, true) => "↓ it comes",
        (_, false) => "↓ it is to come, and is taken back",
    };
    let mut panel = Panel {
        heading: format!("{what}: {} µs", microseconds(to - from)),
        from: from.saturating_sub((to - from) / 60),
        // The last text needs place.
        to: to + (to - from) / 12,
        zero: from,
        ..Panel::default()
    };
    for (number, part) in walk.parts.iter().enumerate() {
        let row = table.row(walk, number);
        panel.bars.push(bar(part, track.cpu, row));
    }
    for instant in instants(track, walk) {
        let began = walk.parts.iter().take_while(|part| part.from <= instant.at);
        let row = table.row(walk, began.count().saturating_sub(1));
        panel.bars.push(Bar::mark(row, instant));
    }
    panel.bands.extend(still_point(&walk.parts));
    panel
}

/// Returns the instants of a track that are in a walk.
fn instants<'a>(track: &'a Track, walk: &'a Walk) -> impl Iterator<Item = &'a Instant> {
    let inside = |at| walk.whole.from <= at && at <= walk.whole.to;
    track
        .instants
        .iter()
        .filter(move |instant| inside(instant.at))
}

/// Says what the colours of the CPUs mean, of the one that goes first, and what the marks mean.
fn legend(track: &Track, walks: &[Walk]) -> Vec<Legend> {
    let parts = walks.iter().flat_map(|walk| &walk.parts);
    let mut cpus: Vec<u32> = parts.map(|part| part.on.unwrap_or(track.cpu)).collect();
    cpus.sort_by_key(|cpu| (*cpu != track.cpu, *cpu));
    cpus.dedup();
    let of_cpu = |cpu| Legend {
        sign: Sign::Bar(paint(cpu, track.cpu)),
        text: format!("runs on CPU {cpu}"),
    };
    let mut legend: Vec<Legend> = cpus.into_iter().map(of_cpu).collect();
    for instant in walks.iter().flat_map(|walk| instants(track, walk)) {
        let entry = Legend {
            sign: Sign::Mark(Paint::Red),
            text: format!("CPU {} is {}", track.cpu, instant.name),
        };
        if !legend.contains(&entry) {
            legend.push(entry);
        }
    }
    legend
}

fn choose(trace: &Trace) -> Option<(&Track, Vec<Walk<'_>>)> {
    let mut candidates = Vec::new();
    for track in trace.group("walks") {
        let is_walk =
            |slice: &&Slice| slice.depth == 0 && matches!(slice.name.as_str(), "up" | "down");
        let walks: Vec<&Slice> = track.slices.iter().filter(is_walk).collect();
        for (number, walk) in walks.iter().copied().enumerate() {
            let next = walks.get(number + 1).copied();
            let next = next.filter(|next| walk.name == "down" && next.name == "up");
            candidates.push((track, [Some(walk), next]));
        }
    }
    // The first that went and came; else the last walk: the first ones are those of the boot.
    let from = |walks: &[Option<&Slice>; 2]| walks[0].map(|walk| walk.from);
    let pairs = candidates.iter().filter(|(_, walks)| walks[1].is_some());
    let best = pairs
        .min_by_key(|(_, walks)| from(walks))
        .or_else(|| candidates.iter().max_by_key(|(_, walks)| from(walks)))?;
    let (track, walks) = *best;
    let with_parts = |whole: &'_ Slice| -> Vec<&Slice> {
        let inside =
            |slice: &&Slice| slice.depth == 1 && whole.from <= slice.from && slice.to <= whole.to;
        track.slices.iter().filter(inside).collect()
    };
    let walks = walks.into_iter().flatten().map(|whole| Walk {
        whole,
        parts: with_parts(whole),
    });
    Some((track, walks.collect()))
}

fn paint(on: u32, cpu: u32) -> Paint {
    if on == cpu {
        return Paint::Orange;
    }
    // The others differ as far as there are colours.
    [Paint::Blue, Paint::Purple, Paint::Green, Paint::Grey][on as usize % 4]
}

fn bar(part: &Slice, cpu: u32, row: usize) -> Bar {
    let on = part.on.unwrap_or(cpu);
    let time = microseconds(part.to - part.from);
    let text = if is_step(part) {
        Text::Beside(time.clone())
    } else {
        Text::Near(format!("{} {time}", short(&part.name)))
    };
    let failed = if part.ok { "" } else { ", it fails" };
    Bar {
        row,
        lane: 0,
        from: part.from,
        to: part.to,
        text,
        about: format!("{} on CPU {on}: {time} µs{failed}", part.name),
        paint: if part.ok { paint(on, cpu) } else { Paint::Red },
    }
}

/// Returns the time in which all CPUs had interrupts off, in a walk that has passed a still point.
fn still_point(parts: &[&Slice]) -> Option<Band> {
    let of = |name: &str| parts.iter().find(|part| part.name == name);
    let (mask, exit) = (of("stop:mask")?, of("stop:exit")?);
    Some(Band {
        from: mask.to,
        to: exit.from,
        label: "still point: interrupts are off on all CPUs".to_owned(),
    })
}

fn title(cpu: u32, walks: &[Walk]) -> String {
    match walks {
        [one] if one.whole.name == "up" => format!("CPU {cpu} comes, step by step"),
        [_] => format!("CPU {cpu} goes, step by step"),
        _ => format!("CPU {cpu} goes and comes back, step by step"),
    }
}

fn description(walks: &[Walk]) -> String {
    let mut text = String::from("A row for each step of the table, time from left to right.");
    for walk in walks {
        let long = |slice: &Slice| duration(slice.to - slice.from);
        text.push_str(&format!(
            " The walk {} takes {}:",
            walk.whole.name,
            long(walk.whole)
        ));
        let parts = walk.parts.iter();
        let parts = parts.map(|part| format!(" {} {}", part.name, long(part)));
        text.push_str(&parts.collect::<Vec<_>>().join(","));
        text.push('.');
    }
    text
}
