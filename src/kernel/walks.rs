//! Prints hotplug walks from the trace rings.

use alloc::vec::Vec;
use core::fmt;

use crate::cpu::CpuId;
use crate::hotplug::{
    Part, PartKind, RecordedCall, RecordedWalk, SchedHistory, StepName, Timeline, WalkLine,
    part_name, pass_a_still_point, recorded_calls, recorded_stays, recorded_walks, way,
};
use crate::kernel::interrupts::InterruptName;
use crate::kernel::{Hw, kernel, print, tracing};
use crate::platform::Platform;
use crate::time::{Instant, Thousandths};
use crate::trace::{Direction, RecordedDecision, recorded_decisions};

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
    if let Some(walk) = history_since(cpu, since).0.last() {
        if log::log_enabled!(log::Level::Debug) {
            print_parts(walk);
        }
        log::info!("{}", line(walk, with_longest));
    }
}

/// Prints all walks of `cpus`, and the calls of installations and removals for them, as far as the
/// trace rings still have them.
///
/// # Context
/// As for [`log_walk`].
pub(crate) fn print_all(cpus: impl Iterator<Item = CpuId>) {
    let cpus: Vec<CpuId> = cpus.collect();
    for cpu in cpus {
        let (walks, calls) = history_since(cpu, Instant(0));
        let mut calls = calls.iter().peekable();
        for walk in walks {
            while let Some(call) = calls.next_if(|call| call.at < walk.began) {
                print_call(cpu, call);
            }
            print_parts(&walk);
            print(format_args!(
                "[{}] {}\n",
                Seconds(walk.ended),
                line(&walk, false)
            ));
        }
        for call in calls {
            print_call(cpu, call);
        }
    }
}

/// Prints what the governor has decided, as far as the trace ring still has it.
///
/// # Context
/// As for [`log_walk`].
pub(crate) fn print_decisions() {
    let (records, _) = kernel().trace.governor();
    for decision in recorded_decisions(&records) {
        let RecordedDecision {
            at,
            reason,
            from,
            to,
            load,
            done,
            ..
        } = decision;
        let way = way(if to > from {
            Direction::Up
        } else {
            Direction::Down
        });
        let (busy, waiting) = (
            Thousandths(load.busy.into()),
            Thousandths(load.waiting.into()),
        );
        print(format_args!(
            "[{}] governor {way:<5} {from} to {to} CPUs, {}: {busy} busy, {waiting} waiting",
            Seconds(at),
            reason.name()
        ));
        match done {
            Some((ticks, online)) => {
                let us = Thousandths(Hw::frequency().ticks_to_ns(ticks));
                let failed = if online == to { "" } else { "  FAILED" };
                print(format_args!(", in {us} us{failed}\n"));
            }
            None => print(format_args!("  (not finished)\n")),
        }
    }
}

/// Prints all that the trace rings have of `cpus`, as a timeline in JSON.
///
/// # Context
/// As for [`log_walk`].
pub(crate) fn export(cpus: impl Iterator<Item = CpuId>) {
    let of_cpu = |cpu| {
        let (walks, calls) = history_since(cpu, Instant(0));
        (cpu, walks, calls)
    };
    let cpus: Vec<_> = cpus.map(of_cpu).collect();
    let trace = &kernel().trace;
    let mut records = Vec::new();
    trace.add_stops(Instant(0), &mut records);
    let mut missing = trace.missing();
    let mut rings = Vec::new();
    for (cpu, ..) in &cpus {
        if let Some((records, besides)) = trace.sched_of(*cpu) {
            missing.add(besides);
            rings.push((*cpu, records));
        }
    }
    let (governor, besides) = trace.governor();
    missing.add(besides);
    let until = Hw::now().min(tracing::sched_until());
    let sched = (!rings.is_empty()).then(|| SchedHistory::new(&rings, &records, until));
    let timeline = Timeline {
        cpus: &cpus,
        stays: &recorded_stays(&records),
        sched: sched.as_ref(),
        governor: &governor,
        missing,
        frequency: Hw::frequency(),
        step_name_fn: step_name,
        interrupt_name_fn: InterruptName,
    };
    print(format_args!("{timeline}\n"));
}

/// Returns the walks of `cpu` that the rings have from `since` on, in their order.
///
/// # Context
/// As for [`log_walk`].
pub(crate) fn walks_since(cpu: CpuId, since: Instant) -> Vec<RecordedWalk> {
    history_since(cpu, since).0
}

/// Returns the walks of `cpu`, and the calls of installations and removals for it, that the rings
/// have from `since` on, in their order.
fn history_since(cpu: CpuId, since: Instant) -> (Vec<RecordedWalk>, Vec<RecordedCall>) {
    let trace = &kernel().trace;
    let mut records = trace.walks_of(cpu, since);
    let calls = recorded_calls(cpu, &records);
    // The rings of all CPUs are read only where a still point needs them.
    let stops_from = if pass_a_still_point(&records) {
        trace.add_stops(since, &mut records)
    } else {
        Instant(0)
    };
    (recorded_walks(cpu, &records, stops_from), calls)
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
    kernel().hotplug.last_step_name(step)
}

fn print_parts(walk: &RecordedWalk) {
    for part in &walk.parts {
        print_part(walk, part);
    }
}

fn print_part(walk: &RecordedWalk, part: &Part) {
    let (cpu, kind) = (walk.cpu, part.kind);
    let (direction, note) = match kind {
        PartKind::Dead => {
            print(format_args!("[{}] CPU{cpu:<3} dead\n", Seconds(part.at)));
            return;
        }
        PartKind::Step {
            direction, done, ..
        } => (direction, outcome(done)),
        _ => (walk.direction, ""),
    };
    print_row(cpu, direction, part, format_args!("{note}"));
}

/// Prints the call of an installation or a removal. It is in no walk.
fn print_call(cpu: CpuId, call: &RecordedCall) {
    let kind = PartKind::Step {
        step: call.step,
        direction: call.direction,
        done: call.done,
    };
    let part = Part {
        at: call.at,
        on: call.on,
        kind,
        ticks: call.ticks,
    };
    let note = outcome(call.done);
    print_row(cpu, call.direction, &part, format_args!("{note}  at rest"));
}

fn outcome(done: Option<bool>) -> &'static str {
    match done {
        Some(true) => "",
        Some(false) => "  FAILED",
        None => "  (not finished)",
    }
}

fn print_row(cpu: CpuId, direction: Direction, part: &Part, note: fmt::Arguments<'_>) {
    let (at, on, way) = (Seconds(part.at), part.on, way(direction));
    let name = part_name(part.kind, step_name);
    let ns = Hw::frequency().ticks_to_ns(part.ticks);
    print(format_args!(
        "[{at}] CPU{cpu:<3} {way:<5} {name:<19} on CPU{on:<3} {:>10} us{note}\n",
        Thousandths(ns)
    ));
}
