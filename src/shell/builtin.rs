//! The commands that are a few lines each.

use alloc::format;
use alloc::string::{String, ToString};

use super::command::{complain, fail};
use super::machine::{Machine, StepRow, StopCost};
use super::numbers::cpu;
use super::options::{Opt, Parsed};
use super::status::{Outcome, Status};
use crate::time::Thousandths;

/// The options of `stop`.
pub(super) const STOP_OPTIONS: [Opt; 1] = [Opt {
    short: 'v',
    long: "verbose",
    value: None,
    help: "one line for each CPU",
}];

/// The options of `free`.
pub(super) const FREE_OPTIONS: [Opt; 1] = [Opt {
    short: 'h',
    long: "human",
    value: None,
    help: "show units: Ki, Mi, Gi",
}];

/// `states`: prints number and name as in Linux's `cpu/hotplug/states`. Adds what Linux
/// lacks: the counters, and why a state has no callback for a direction.
pub(super) fn states<M: Machine>(machine: &M, _: &Parsed<'_>) -> Outcome {
    for row in machine.steps() {
        let StepRow {
            number, ups, downs, ..
        } = row;
        if row.group.is_empty() {
            // `offline` and `online`: the ends of a walk have no counters.
            machine.write(format_args!("{number:3}: {}\n", row.name));
            continue;
        }
        let name = row.full_name();
        machine.write(format_args!(
            "{number:3}: {name:22} up {ups:<6} down {downs:<6} past "
        ));
        if row.past.is_empty() {
            machine.write(format_args!("none"));
        } else {
            machine.write(format_args!("{}", row.past));
        }
        if row.may_rest {
            machine.write(format_args!("; rest"));
        }
        if !row.unbalanced.is_empty() {
            machine.write(format_args!("; UNBALANCED on {}", row.unbalanced));
        }
        for (side, missing) in [("startup", row.no_startup), ("teardown", row.no_teardown)] {
            if let Some(reason) = missing {
                machine.write(format_args!("\n     no {side}: {reason}"));
            }
        }
        machine.write(format_args!("\n"));
    }
    Outcome::Continue(Status::SUCCESS)
}

/// `stop`: stops all CPUs once and prints how long that took.
pub(super) fn stop<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let StopCost {
        to_fn_ns,
        whole_ns,
        request_writes,
        wake_writes,
        irqs_off_ns,
    } = match machine.stop() {
        Ok(report) => report,
        Err(error) => return fail(machine, "stop", &error),
    };
    machine.write(format_args!(
        "Time to fn:       {:>14} us\n",
        Thousandths(to_fn_ns)
    ));
    machine.write(format_args!(
        "Whole:            {:>14} us\n",
        Thousandths(whole_ns)
    ));
    machine.write(format_args!(
        "SGI writes:       {request_writes:>10} for the request, {wake_writes} to wake\n"
    ));
    if args.options.is_empty() {
        // The list is never empty, because the CPU of the caller takes part.
        if let Some((cpu, ns)) = irqs_off_ns.iter().max_by_key(|(_, ns)| *ns) {
            let most = Thousandths(*ns);
            machine.write(format_args!(
                "IRQs off:         {most:>14} us at most, on CPU {cpu}\n"
            ));
        }
        return Outcome::Continue(Status::SUCCESS);
    }
    for (cpu, ns) in irqs_off_ns {
        let cpu = cpu.index();
        machine.write(format_args!(
            "IRQs off CPU {cpu:<4} {:>14} us\n",
            Thousandths(ns)
        ));
    }
    Outcome::Continue(Status::SUCCESS)
}

/// `free`: prints the use of the heap and of the pool of stacks, in KiB as on Linux.
pub(super) fn free<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let memory = machine.memory();
    machine.write(format_args!(
        "{:8}{:>12}{:>12}{:>12}{:>12}\n",
        "", "total", "used", "free", "cache"
    ));
    let stacks_free = memory.stacks.saturating_sub(memory.stacks_used);
    let size = if args.options.is_empty() {
        in_kib
    } else {
        for_people
    };
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
        // Total and free are rounded down, used and cache up.
        let [total, free] = [total, free].map(|bytes| size(bytes / 1024));
        let [used, cache] = [used, cache].map(|bytes| size(bytes.div_ceil(1024)));
        machine.write(format_args!(
            "{name:8}{total:>12}{used:>12}{free:>12}{cache:>12}\n"
        ));
    }
    Outcome::Continue(Status::SUCCESS)
}

/// Returns a number of KiB as `free` prints it.
fn in_kib(kib: usize) -> String {
    kib.to_string()
}

/// Returns a number of KiB as `free -h` prints it: with a unit and at most one decimal.
fn for_people(kib: usize) -> String {
    let mut tenths = kib * 10;
    for unit in ["Ki", "Mi"] {
        if tenths < 10_240 {
            return in_units(tenths, unit);
        }
        tenths = tenths.div_ceil(1024);
    }
    in_units(tenths, "Gi")
}

/// Returns a number of tenths with its unit. It has a decimal if the number is below 10
/// and the decimal isn't 0.
fn in_units(tenths: usize, unit: &str) -> String {
    if tenths < 100 && !tenths.is_multiple_of(10) {
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    } else {
        format!("{}{unit}", tenths / 10)
    }
}

/// `selftest`: runs every check of the machine and prints a line for each.
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

/// The word that has `trace` print a timeline.
pub(super) const EXPORT: &str = "export";

/// `trace`: prints the hotplug walks of one CPU, or of all CPUs, or a timeline of all.
pub(super) fn trace<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    match args.operands.first().copied() {
        None => machine.trace(None),
        Some(EXPORT) => machine.export_trace(),
        Some(word) => match cpu(machine, word) {
            Ok(cpu) => machine.trace(Some(cpu)),
            Err(error) => return fail(machine, "trace", &error),
        },
    }
    if !machine.is_tracing() {
        machine.write(format_args!(
            "nothing is recorded now: /sys/kernel/tracing/tracing_on is 0\n"
        ));
    }
    Outcome::Continue(Status::SUCCESS)
}

/// `echo`: prints its words, separated by spaces.
pub(super) fn echo<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    machine.write(format_args!("{}", echoed(&args.operands)));
    Outcome::Continue(Status::SUCCESS)
}

/// Returns what `echo` prints of `words`: with the end of a line, if `-n` isn't the first.
pub(super) fn echoed(words: &[&str]) -> String {
    match words {
        ["-n", words @ ..] => words.join(" "),
        words => words.join(" ") + "\n",
    }
}

/// `exit`: asks the shell's caller to turn the machine off, with the given status or
/// that of the command before.
pub(super) fn exit<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let Some(word) = args.operands.first() else {
        return Outcome::PowerOff(args.last); // (shell-returns)
    };
    // `parse` accepts a plus sign.
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    match word.parse().ok().filter(|_| digits) {
        Some(code) => Outcome::PowerOff(Status::new(code)),
        None => {
            complain(
                machine,
                "exit",
                format_args!("{word}: not a number from 0 to 255"),
            );
            Outcome::Continue(Status::SYNTAX)
        }
    }
}

/// `poweroff`: asks the shell's caller to turn the machine off, with the status of the
/// command before.
pub(super) fn poweroff<M: Machine>(_: &M, args: &Parsed<'_>) -> Outcome {
    Outcome::PowerOff(args.last)
}

/// `reboot`: asks the shell's caller to reset the machine.
pub(super) fn reboot<M: Machine>(_: &M, _: &Parsed<'_>) -> Outcome {
    Outcome::Reboot
}
