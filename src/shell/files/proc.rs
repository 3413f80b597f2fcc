//! The files of `/proc` that tell of the machine, in Linux's formats.
//!
//! What the kernel doesn't know is left out, or is 0 where the format has a column for it.
//!
//! # Sources
//! Linux `Documentation/filesystems/proc.rst`, `Documentation/scheduler/sched-stats.rst`; the
//! files of an arm64 machine.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use crate::shell::features::features;
use crate::shell::machine::Machine;
use crate::shell::midr::Midr;
use crate::shell::options::Parsed;
use crate::shell::status::{Outcome, Status};

/// `interrupts`: prints `/proc/interrupts`.
pub(in crate::shell) fn interrupts<M: Machine>(machine: &M, _: &Parsed<'_>) -> Outcome {
    machine.write(format_args!("{}", interrupt_table(machine)));
    Outcome::Continue(Status::SUCCESS)
}

/// Adds text to `text`.
macro_rules! add {
    ($text:expr, $($format:tt)*) => {{
        let written = write!($text, $($format)*);
        assert!(written.is_ok(), "BUG: a string takes all text");
    }};
}

/// Returns `cpuinfo`: a block for each CPU that is online.
pub(super) fn cpuinfo<M: Machine>(machine: &M) -> String {
    let mut text = String::new();
    for cpu in machine.masks().online.iter() {
        add!(text, "processor\t: {cpu}\n");
        // Linux's delay loop is the timer: it counts a loop for each two ticks.
        let hundredths = machine.timer_hz() / 5000;
        let (whole, rest) = (hundredths / 100, hundredths % 100);
        add!(text, "BogoMIPS\t: {whole}.{rest:02}\n");
        if let Some(registers) = machine.id_registers(cpu) {
            text.push_str("Features\t:");
            features(&registers).for_each(|name| add!(text, " {name}"));
            text.push('\n');
        }
        if let Some(midr) = machine.cpu_info(cpu).midr.map(Midr) {
            add!(text, "CPU implementer\t: {:#04x}\n", midr.implementer());
            add!(text, "CPU architecture: 8\n");
            add!(text, "CPU variant\t: {:#x}\n", midr.variant());
            add!(text, "CPU part\t: {:#05x}\n", midr.part());
            add!(text, "CPU revision\t: {}\n", midr.revision());
        }
        text.push('\n');
    }
    text
}

/// Returns `interrupts`: a column for each CPU that is online.
pub(super) fn interrupt_table<M: Machine>(machine: &M) -> String {
    let online = machine.masks().online;
    let mut text = format!("{:11}", "");
    for cpu in online.iter() {
        add!(text, "{:<11}", format!("CPU{cpu}"));
    }
    let mut text = String::from(text.trim_end()) + "\n";
    for row in machine.interrupts() {
        add!(text, "{:>3}:", row.name);
        // The name of an SGI is a column longer than the others.
        let mut width = 14_usize.saturating_sub(row.name.len().max(3));
        for cpu in online.iter() {
            let count = row.counts.get(cpu.index()).copied().unwrap_or(0);
            add!(text, "{count:>width$}");
            width = 11;
        }
        add!(text, "  {}\n", row.what);
    }
    text
}

/// Returns `meminfo`. Memory is what the heap has and the pool of stacks.
pub(super) fn meminfo<M: Machine>(machine: &M) -> String {
    let memory = machine.memory();
    let stacks_free = memory.stacks.saturating_sub(memory.stacks_used);
    let free = memory.heap_free + stacks_free;
    let mut text = String::new();
    for (name, bytes) in [
        ("MemTotal:", memory.heap + memory.stacks),
        ("MemFree:", free),
        ("MemAvailable:", free + memory.heap_cached),
        ("Cached:", memory.heap_cached),
        ("KernelStack:", memory.stacks_used),
    ] {
        add!(text, "{name:16}{:>8} kB\n", bytes / 1024);
    }
    text
}

/// Returns `uptime`: seconds since boot, and for how long CPUs have been idle, all together. A CPU
/// that is offline keeps what it has had.
pub(super) fn uptime<M: Machine>(machine: &M) -> String {
    let possible = machine.masks().possible;
    let idle = possible.iter().filter_map(|cpu| machine.idle_ns(cpu)).sum();
    let seconds = |ns: u64| {
        let hundredths = ns / 10_000_000;
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    };
    format!("{} {}\n", seconds(machine.now_ns()), seconds(idle))
}

/// Returns `schedstat`: for each CPU that is online, what Linux's version 15 has. The kernel
/// counts the seventh field only, for how many nanoseconds threads other than the idle one have run
/// there.
pub(super) fn schedstat<M: Machine>(machine: &M) -> String {
    let milliseconds = machine.now_ns() / 1_000_000;
    let mut text = format!("version 15\ntimestamp {milliseconds}\n");
    for cpu in machine.masks().online.iter() {
        let run = machine.run_ns(cpu).unwrap_or(0);
        add!(text, "cpu{cpu} 0 0 0 0 0 0 {run} 0 0\n");
    }
    text
}
