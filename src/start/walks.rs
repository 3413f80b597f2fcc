//! Prints hotplug walks from the trace rings.

use alloc::vec::Vec;
use core::fmt;

use crate::cpu::CpuId;
use crate::platform::Platform;
use crate::start::kernel::kernel;
use crate::start::{Hw, print};
use crate::time::Instant;
use crate::trace::{Direction, Event, Record};

/// An instant as Linux prints one: seconds and microseconds since the counter
/// started.
pub(super) struct Seconds(pub(super) Instant);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = Hw::frequency().ticks_to_ns(self.0.0) / 1000;
        write!(f, "{:5}.{:06}", us / 1_000_000, us % 1_000_000)
    }
}

/// Prints each step that `cpu` has passed since `since`: when, which, on which
/// CPU it ran, and how long it took.
///
/// # Context
/// Thread; the walk should be over, or its last steps may be missing.
pub fn print_walk(cpu: CpuId, since: Instant) {
    let records = kernel().trace.collect(|record| {
        record.at >= since
            && match record.event {
                Event::StepBegin { cpu: of, .. } | Event::StepEnd { cpu: of, .. } => of == cpu,
                Event::Dead => record.on == cpu,
                Event::Stop { .. } => false,
            }
    });
    for (index, record) in records.iter().enumerate() {
        print_record(cpu, record, &records[index + 1..]);
    }
}

fn print_record(cpu: CpuId, record: &Record, later: &[Record]) {
    let at = Seconds(record.at);
    match record.event {
        Event::StepBegin {
            step, direction, ..
        } => {
            let name = kernel().hotplug.steps()[usize::from(step)].name;
            let end = later.iter().find(|other| {
                matches!(other.event, Event::StepEnd { step: of, direction: way, .. }
                    if of == step && way == direction)
            });
            let way = match direction {
                Direction::Up => "up",
                Direction::Down => "down",
            };
            print(format_args!(
                "[{at}] CPU{cpu:<3} {way:<5} {name:<14} on CPU{:<3} {}\n",
                record.on,
                Took { record, end }
            ));
        }
        Event::Dead => print(format_args!("[{at}] CPU{cpu:<3} dead\n")),
        Event::StepEnd { .. } | Event::Stop { .. } => {}
    }
}

/// How long a step took, or that it failed.
struct Took<'a> {
    record: &'a Record,
    end: Option<&'a Record>,
}

impl fmt::Display for Took<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(end) = self.end else {
            return f.write_str("(not finished)");
        };
        let ns = Hw::frequency().ticks_to_ns(end.at.ticks_since(self.record.at));
        write!(f, "{:>6}.{:03} us", ns / 1000, ns % 1000)?;
        if let Event::StepEnd { ok: false, .. } = end.event {
            f.write_str("  FAILED")?;
        }
        Ok(())
    }
}

/// Prints what the rings still have of all walks of `cpus`.
pub(super) fn print_all(cpus: impl Iterator<Item = CpuId>) {
    let cpus: Vec<CpuId> = cpus.collect();
    for cpu in cpus {
        print_walk(cpu, Instant(0));
    }
}
