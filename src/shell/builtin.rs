//! The commands that are a few lines each.

use alloc::format;
use core::fmt;

use super::command::{commands, complain, print_help};
use super::machine::Failure;
use super::machine::{Machine, StepRow, StopReport};
use super::options::Parsed;
use super::status::{Outcome, Status};
use crate::cpu::CpuId;
use crate::errno::Errno;

/// `help`: the command table, or one row of it at length.
pub(super) fn help<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let table = commands::<M>();
    let Some(name) = args.operands.first() else {
        for row in &table {
            let usage = format!("{} {}", row.name, row.usage);
            machine.write(format_args!("{usage:18} {}\n", row.help));
        }
        return Outcome::Continue(Status::SUCCESS);
    };
    let Some(row) = table.iter().find(|row| row.name == *name) else {
        complain(machine, "help", format_args!("no such command: {name}"));
        return Outcome::Continue(Status::FAILURE);
    };
    print_help(machine, row);
    Outcome::Continue(Status::SUCCESS)
}

/// `states`: number and name as in Linux's `cpu/hotplug/states`, then what Linux
/// has not: the counters, and why a side is empty.
pub(super) fn states<M: Machine>(machine: &M, _: &Parsed<'_>) -> Outcome {
    for row in machine.steps() {
        let StepRow {
            number, ups, downs, ..
        } = row;
        if row.group.is_empty() {
            // Where a walk starts and ends: no step, nothing to count.
            machine.write(format_args!("{number:3}: {}\n", row.name));
            continue;
        }
        let name = format!("{}:{}", row.group, row.name);
        machine.write(format_args!(
            "{number:3}: {name:22} up {ups:<6} down {downs:<6} past "
        ));
        if row.past.is_empty() {
            machine.write(format_args!("none"));
        } else {
            machine.write(format_args!("{}", row.past));
        }
        if !row.unbalanced.is_empty() {
            machine.write(format_args!("; UNBALANCED on {}", row.unbalanced));
        }
        for (side, missing) in [("startup", row.no_startup), ("teardown", row.no_teardown)] {
            if let Some(reason) = missing {
                machine.write(format_args!("; no {side}: {reason}"));
            }
        }
        machine.write(format_args!("\n"));
    }
    Outcome::Continue(Status::SUCCESS)
}

/// `stop`: one still point, timed.
pub(super) fn stop<M: Machine>(machine: &M, _: &Parsed<'_>) -> Outcome {
    let StopReport {
        to_fn_ns,
        whole_ns,
        request_writes,
        wake_writes,
        irqs_off_ns,
    } = match machine.stop() {
        Ok(report) => report,
        Err(error) => {
            complain(
                machine,
                "stop",
                format_args!("{} ({}: {error})", error.errno(), error.errno().name()),
            );
            return Outcome::Continue(Status::FAILURE);
        }
    };
    machine.write(format_args!(
        "Time to fn:       {:>14} us\n",
        Micros(to_fn_ns)
    ));
    machine.write(format_args!(
        "Whole:            {:>14} us\n",
        Micros(whole_ns)
    ));
    machine.write(format_args!(
        "SGI writes:       {request_writes:>10} for the request, {wake_writes} to wake\n"
    ));
    for (cpu, ns) in irqs_off_ns {
        let cpu = cpu.index();
        machine.write(format_args!(
            "IRQs off CPU {cpu:<4} {:>14} us\n",
            Micros(ns)
        ));
    }
    Outcome::Continue(Status::SUCCESS)
}

/// `free`: as on Linux, in KiB; the stacks are a pool of their own.
pub(super) fn free<M: Machine>(machine: &M, _: &Parsed<'_>) -> Outcome {
    let memory = machine.memory();
    machine.write(format_args!(
        "{:8}{:>12}{:>12}{:>12}{:>12}\n",
        "", "total", "used", "free", "cache"
    ));
    let stacks_free = memory.stacks.saturating_sub(memory.stacks_used);
    for (name, total, used, free, cache) in [
        (
            "Mem:",
            memory.heap,
            memory.heap_used,
            memory.heap_free,
            memory.heap_cached,
        ),
        ("Stacks:", memory.stacks, memory.stacks_used, stacks_free, 0),
    ] {
        let (total, used) = (total / 1024, used.div_ceil(1024));
        let (free, cache) = (free / 1024, cache.div_ceil(1024));
        machine.write(format_args!(
            "{name:8}{total:12}{used:12}{free:12}{cache:12}\n"
        ));
    }
    Outcome::Continue(Status::SUCCESS)
}

/// `selftest`: every check of the machine, a line each.
pub(super) fn selftest<M: Machine>(machine: &M, _: &Parsed<'_>) -> Outcome {
    let mut status = Status::SUCCESS;
    machine.self_test(&mut |name, outcome| match outcome {
        Ok(seen) => machine.write(format_args!("selftest: {name}: ok: {seen}\n")),
        Err(wrong) => {
            status = Status::FAILURE;
            machine.write(format_args!("selftest: {name}: FAILED: {wrong}\n"));
        }
    });
    Outcome::Continue(status)
}

/// Nanoseconds, printed as microseconds.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:03}", self.0 / 1000, self.0 % 1000))
    }
}

/// `trace`: the hotplug walks of one CPU, or of all.
pub(super) fn trace<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let cpu = match args.operands.first() {
        None => None,
        Some(word) => match existing_cpu(machine, word) {
            Some(cpu) => Some(cpu),
            None => {
                complain(
                    machine,
                    "trace",
                    format_args!("CPU {word} does not exist ({})", Errno::Invalid.name()),
                );
                return Outcome::Continue(Status::FAILURE);
            }
        },
    };
    machine.trace(cpu);
    Outcome::Continue(Status::SUCCESS)
}

/// The CPU of this number, if it is one and there is such a CPU.
fn existing_cpu<M: Machine>(machine: &M, word: &str) -> Option<CpuId> {
    // `parse` alone would let a plus sign through.
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let cpu = CpuId::new(word.parse().ok().filter(|_| digits)?)?;
    machine.masks().present.contains(cpu).then_some(cpu)
}

/// `echo`: its words, a space between them.
pub(super) fn echo<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    machine.write(format_args!("{}\n", args.operands.join(" ")));
    Outcome::Continue(Status::SUCCESS)
}

/// `poweroff`: tells the caller.
pub(super) fn poweroff<M: Machine>(_: &M, _: &Parsed<'_>) -> Outcome {
    Outcome::PowerOff
}

/// `reboot`: tells the caller.
pub(super) fn reboot<M: Machine>(_: &M, _: &Parsed<'_>) -> Outcome {
    Outcome::Reboot
}
