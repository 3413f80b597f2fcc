//! Prints hotplug walks from the trace rings.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use crate::cpu::CpuId;
use crate::hotplug::{Part, PartKind, RecordedWalk, recorded_walks};
use crate::kernel::kernel;
use crate::kernel::{Hw, print};
use crate::platform::Platform;
use crate::time::Instant;
use crate::trace::{Direction, Event};

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
    if !log::log_enabled!(log::Level::Info) {
        return;
    }
    if let Some(walk) = walks_since(cpu, since).last() {
        if log::log_enabled!(log::Level::Debug) {
            print_parts(walk);
        }
        log::info!("{}", Headline(walk));
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
                Headline(&walk)
            ));
        }
    }
}

/// Returns the walks of `cpu` that the rings have from `since` on, in their order.
fn walks_since(cpu: CpuId, since: Instant) -> Vec<RecordedWalk> {
    let records = kernel().trace.collect(|record| {
        record.at >= since
            && match record.event {
                Event::WalkBegin { cpu: of, .. }
                | Event::WalkEnd { cpu: of }
                | Event::StepBegin { cpu: of, .. }
                | Event::StepEnd { cpu: of, .. } => of == cpu,
                Event::Dead => record.on == cpu,
                Event::Stop { .. } => true,
            }
    });
    recorded_walks(cpu, &records)
}

/// Displays the outcome and the duration of a walk in one line.
struct Headline<'a>(&'a RecordedWalk);

impl fmt::Display for Headline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let walk = self.0;
        let whole = Millis(walk.ended.ticks_since(walk.began));
        write!(f, "CPU{} {}", walk.cpu, way(walk.direction))?;
        match walk.failed {
            Some(step) => {
                let name = kernel().hotplug.step_name(step);
                write!(f, ": {name} failed, back after {whole}")?;
            }
            None if walk.turned_back => write!(f, ": turned back after {whole}")?,
            None => write!(f, " in {whole}")?,
        }
        if let Some(ticks) = walk.irqs_off {
            write!(f, ", interrupts off for {}", Millis(ticks))?;
        }
        if !walk.whole {
            f.write_str(" (not all of it is recorded)")?;
        }
        Ok(())
    }
}

/// Displays a number of ticks as milliseconds.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = Hw::frequency().ticks_to_ns(self.0) / 1000;
        write!(f, "{}.{:03} ms", us / 1000, us % 1000)
    }
}

const fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

fn print_parts(walk: &RecordedWalk) {
    for part in &walk.parts {
        print_part(walk, part);
    }
}

fn print_part(walk: &RecordedWalk, part: &Part) {
    let (at, cpu, on) = (Seconds(part.at), walk.cpu, part.on);
    let step_name;
    let (name, direction, note) = match part.kind {
        PartKind::Step {
            step,
            direction,
            done,
        } => {
            step_name = kernel().hotplug.step_name(step).to_string();
            let note = match done {
                Some(true) => "",
                Some(false) => "  FAILED",
                None => "  (not finished)",
            };
            (step_name.as_str(), direction, note)
        }
        PartKind::Dead => {
            print(format_args!("[{at}] CPU{cpu:<3} dead\n"));
            return;
        }
        PartKind::Call => ("call", walk.direction, ""),
        PartKind::HandOver => ("hand-over", walk.direction, ""),
        PartKind::Request => ("stop:request", walk.direction, ""),
        PartKind::Gather => ("stop:gather", walk.direction, ""),
        PartKind::Mask => ("stop:mask", walk.direction, ""),
        PartKind::Exit => ("stop:exit", walk.direction, ""),
        PartKind::Return => ("return", walk.direction, ""),
        PartKind::Between => ("between", walk.direction, ""),
    };
    let way = way(direction);
    let ns = Hw::frequency().ticks_to_ns(part.ticks);
    print(format_args!(
        "[{at}] CPU{cpu:<3} {way:<5} {name:<19} on CPU{on:<3} {:>6}.{:03} us{note}\n",
        ns / 1000,
        ns % 1000
    ));
}
