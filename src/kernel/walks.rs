//! Prints hotplug walks from the trace rings.

use alloc::vec::Vec;
use core::fmt;

use crate::cpu::CpuId;
use crate::hotplug::{
    Part, PartKind, RecordedWalk, StepName, WalkLine, part_name, pass_a_still_point,
    recorded_walks, way,
};
use crate::kernel::kernel;
use crate::kernel::{Hw, print};
use crate::platform::Platform;
use crate::time::Instant;

/// Displays an instant as Linux does: seconds and microseconds since the counter started.
pub(super) struct Seconds(pub(super) Instant);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = Hw::frequency().ticks_to_ns(self.0.0) / 1000;
        write!(f, "{:5}.{:06}", us / 1_000_000, us % 1_000_000)
    }
}

/// Logs the last walk of `cpu` that began at `since` or later: one line at level info, and a
/// line for each part of the walk at level debug.
///
/// # Context
/// Thread; allocates. If the walk isn't over, its last steps are missing.
pub fn log_walk(cpu: CpuId, since: Instant) {
    log_last(cpu, since, false);
}

/// Does as [`log_walk`] for a CPU that came at boot: its line says also what took longest.
///
/// # Context
/// As for [`log_walk`].
pub(crate) fn log_boot_walk(cpu: CpuId) {
    log_last(cpu, Instant(0), true);
}

fn log_last(cpu: CpuId, since: Instant, with_longest: bool) {
    if !log::log_enabled!(log::Level::Info) {
        return;
    }
    if let Some(walk) = walks_since(cpu, since).last() {
        if log::log_enabled!(log::Level::Debug) {
            print_parts(walk);
        }
        log::info!("{}", line(walk, with_longest));
    }
}

/// Prints all walks of `cpus`, as far as the trace rings still have them.
///
/// # Context
/// As for [`log_walk`].
pub(crate) fn print_all(cpus: impl Iterator<Item = CpuId>) {
    let cpus: Vec<CpuId> = cpus.collect();
    for cpu in cpus {
        for walk in walks_since(cpu, Instant(0)) {
            print_parts(&walk);
            print(format_args!(
                "[{}] {}\n",
                Seconds(walk.ended),
                line(&walk, false)
            ));
        }
    }
}

/// Returns the walks of `cpu` that the rings have from `since` on, in their order.
fn walks_since(cpu: CpuId, since: Instant) -> Vec<RecordedWalk> {
    let trace = &kernel().trace;
    let mut records = trace.walks_of(cpu, since);
    // The rings of all CPUs are read only where a still point needs them.
    let stops_from = if pass_a_still_point(&records) {
        trace.add_stops(since, &mut records)
    } else {
        Instant(0)
    };
    recorded_walks(cpu, &records, stops_from)
}

/// Displays the outcome and the duration of a walk in one line.
fn line(walk: &RecordedWalk, with_longest: bool) -> impl fmt::Display {
    WalkLine {
        walk,
        frequency: Hw::frequency(),
        step_name_fn: step_name,
        with_longest,
    }
}

fn step_name(step: usize) -> StepName {
    kernel().hotplug.step_name(step)
}

fn print_parts(walk: &RecordedWalk) {
    for part in &walk.parts {
        print_part(walk, part);
    }
}

fn print_part(walk: &RecordedWalk, part: &Part) {
    let (at, cpu, on) = (Seconds(part.at), walk.cpu, part.on);
    let (direction, note) = match part.kind {
        PartKind::Dead => {
            print(format_args!("[{at}] CPU{cpu:<3} dead\n"));
            return;
        }
        PartKind::Step {
            direction, done, ..
        } => match done {
            Some(true) => (direction, ""),
            Some(false) => (direction, "  FAILED"),
            None => (direction, "  (not finished)"),
        },
        _ => (walk.direction, ""),
    };
    let way = way(direction);
    let name = part_name(part.kind, step_name);
    let ns = Hw::frequency().ticks_to_ns(part.ticks);
    print(format_args!(
        "[{at}] CPU{cpu:<3} {way:<5} {name:<19} on CPU{on:<3} {:>6}.{:03} us{note}\n",
        ns / 1000,
        ns % 1000
    ));
}
