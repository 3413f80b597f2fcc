//! The timelines that the shell's `trace export` and `lab` print.

use anyhow::{Context, Result, bail, ensure};

use super::Setting;
use crate::config::Config;
use crate::timeline::chart::{Chart, Paint};
use crate::timeline::draw::draw;
use crate::timeline::exported::exported;
use crate::timeline::stays::STOPS;
use crate::timeline::trace::{Slice, Trace};
use crate::timeline::{lab, stop, walk};

/// What a walk has that is no step of the table.
const BETWEEN: [&str; 9] = [
    "up",
    "down",
    "call",
    "return",
    "hand-over",
    "others",
    "arrival",
    "grace",
    "departure",
];

/// Checks that a reader of JSON that isn't ours takes the timeline, and that it has as many slices
/// as the kernel has counted, on the tracks of four CPUs, with names that are known; and that it
/// can be drawn.
pub fn trace_is_exported(setting: &Setting) -> Result<()> {
    let machine = Config {
        smp: "4".into(),
        init: "echo 1 > /sys/kernel/tracing/events/enable; stop; chcpu -d 3; chcpu -e 3; \
               trace export; poweroff"
            .into(),
        ..setting.config.clone()
    };
    let printed = setting.boot("trace_is_exported", &machine, 0)?;
    let (_, json) = exported(&printed)?;
    judge(&Trace::read(&json)?)
}

/// Checks that a replay of the lab can be drawn: the old way, in which something goes wrong, and
/// ours.
pub fn lab_is_drawn(setting: &Setting) -> Result<()> {
    let machine = Config {
        smp: "4".into(),
        init: "lab 2006; poweroff".into(),
        ..setting.config.clone()
    };
    let printed = setting.boot("lab_is_drawn", &machine, 0)?;
    let labs = lab::charts(&printed)?;
    let [(name, picture)] = &labs[..] else {
        bail!("{} labs were found", labs.len());
    };
    ensure!(name == "2006", "lab {name} was replayed");
    let groups = picture
        .rows
        .iter()
        .filter(|row| row.group.is_some())
        .count();
    ensure!(groups == 3, "the lab has {groups} acts");
    let wrong = picture.panels[0]
        .bars
        .iter()
        .filter(|bar| bar.paint == Paint::Red)
        .count();
    ensure!(wrong == 1, "{wrong} steps of the lab go wrong");
    ensure!(has_bars(picture), "the picture of the lab is empty");
    Ok(())
}

fn judge(trace: &Trace) -> Result<()> {
    for track in trace.group("walks") {
        for slice in &track.slices {
            ensure!(is_known(slice), "a walk has the slice {}", slice.name);
        }
    }
    let stays = |cpu| {
        let mut tracks = trace.group(STOPS);
        let track = tracks.find(|track| track.cpu == cpu);
        track.map_or(0, |track| {
            track.slices.iter().filter(|slice| slice.depth == 0).count()
        })
    };
    // One has the code of the trace points changed, one was asked for, and the walk down has one.
    let counts = [0, 1, 2, 3].map(stays);
    ensure!(counts == [3; 4], "the CPUs were in {counts:?} stops");
    for group in ["threads", "interrupts"] {
        let used = trace
            .group(group)
            .filter(|track| !track.slices.is_empty())
            .count();
        ensure!(used == 4, "{used} CPUs have {group}");
    }
    let picture = stop::chart(trace).context("no stop is recorded")?;
    ensure!(
        picture.rows.len() == 4,
        "the stop has {} CPUs",
        picture.rows.len()
    );
    ensure!(has_bars(&picture), "the picture of the stop is empty");
    // An SGI to each of the others, and what it wakes.
    let arrows = picture.panels[0].arrows.len();
    ensure!(arrows >= 6, "the stop has {arrows} arrows");
    let picture = walk::chart(trace).context("no walk is recorded")?;
    ensure!(
        picture.panels.len() == 2,
        "CPU 3 didn't go and come: {}",
        picture.title
    );
    ensure!(has_bars(&picture), "the picture of the walks is empty");
    Ok(())
}

fn has_bars(picture: &Chart) -> bool {
    draw(picture).contains("class=\"bar")
}

fn is_known(slice: &Slice) -> bool {
    slice.name.contains(':') || BETWEEN.contains(&slice.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::samples;

    #[test]
    fn a_walk_without_a_stop_of_all_is_not_enough() {
        let trace = Trace::read(&samples::walk()).expect("a trace");
        let told = judge(&trace).expect_err("no stop").to_string();
        assert_eq!(told, "the CPUs were in [0, 0, 0, 0] stops");
        let trace = Trace::read(&samples::of(&[(1, "sideways", 0, 1)])).expect("a trace");
        let told = judge(&trace).expect_err("no name").to_string();
        assert_eq!(told, "a walk has the slice sideways");
    }
}
