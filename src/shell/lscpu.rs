//! `lscpu`: the fields of util-linux that apply, in its order and alignment.
//!
//! It prints only what the machine itself reports. `MIDR_EL1` of a CPU that
//! never ran is unknown, so such a CPU adds no model. The number of threads of a core,
//! caches and frequencies are unknown, so those fields are missing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::machine::{CpuInfo, Machine};
use super::midr::Midr;
use super::options::{Opt, Parsed};
use super::status::{Outcome, Status};
use crate::cpu::CpuMask;

/// The options of `lscpu`.
pub(super) const OPTIONS: [Opt; 1] = [Opt {
    short: 'e',
    long: "extended",
    value: None,
    help: "print a table with one line for each CPU",
}];

/// Runs `lscpu`.
pub(super) fn run<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    if args.options.is_empty() {
        summary(machine);
    } else {
        table(machine);
    }
    Outcome::Continue(Status::SUCCESS)
}

/// A line of the summary: its depth of indentation, its label, its value.
type Line = (usize, &'static str, String);

/// Prints the summary: how many CPUs there are, which are online, and their models.
fn summary<M: Machine>(machine: &M) {
    let masks = machine.masks();
    let offline = masks.possible.without(&masks.online);
    let mut lines: Vec<Line> = vec![
        (0, "Architecture:", "aarch64".into()),
        // The boot code refuses a core whose data accesses are big-endian.
        (1, "Byte Order:", "Little Endian".into()),
        (0, "CPU(s):", masks.possible.count().to_string()),
        (1, "On-line CPU(s) list:", masks.online.to_string()),
    ];
    if !offline.is_empty() {
        lines.push((1, "Off-line CPU(s) list:", offline.to_string()));
    }
    models(machine, &masks.possible, &mut lines);

    let width = lines
        .iter()
        .map(|(depth, label, _)| 2 * depth + label.len())
        .max()
        .unwrap_or(0);
    for (depth, label, value) in lines {
        let indent = 2 * depth;
        let width = width - indent;
        machine.write(format_args!("{:indent$}{label:width$} {value}\n", ""));
    }
}

/// Adds to `lines` a section for each core model of `cpus`. Models of the same vendor
/// that follow each other share the vendor's line.
fn models<M: Machine>(machine: &M, cpus: &CpuMask, lines: &mut Vec<Line>) {
    let mut models: Vec<Midr> = Vec::new();
    for cpu in cpus.iter() {
        let midr = machine.cpu_info(cpu).midr.map(Midr);
        models.extend(midr.filter(|midr| !models.contains(midr)));
    }
    let mut last_vendor = None;
    for midr in models {
        if last_vendor != Some(midr.implementer()) {
            last_vendor = Some(midr.implementer());
            let vendor = named(midr.vendor(), midr.implementer(), 2);
            lines.push((0, "Vendor ID:", vendor));
        }
        lines.push((1, "Model name:", named(midr.model(), midr.part(), 3)));
        lines.push((2, "Model:", midr.revision().to_string()));
        let stepping = if midr.is_arm() {
            format!("r{}p{}", midr.variant(), midr.revision())
        } else {
            format!("{:#x}", midr.variant())
        };
        lines.push((2, "Stepping:", stepping));
    }
}

/// Returns the name, or else the number with at least `digits` hexadecimal digits.
fn named(name: Option<&str>, number: u32, digits: usize) -> String {
    let width = digits + 2;
    name.map_or_else(|| format!("{number:#0width$x}"), String::from)
}

/// Prints a line for each CPU, and below the table the reasons for unusual states.
fn table<M: Machine>(machine: &M) {
    let masks = machine.masks();
    machine.write(format_args!("CPU ONLINE ADDRESS       STATE       MODEL\n"));
    let mut whys = Vec::new();
    for cpu in masks.possible.iter() {
        let CpuInfo {
            midr,
            mpidr,
            state,
            why,
        } = machine.cpu_info(cpu);
        whys.extend(why.map(|why| (cpu, state, why)));
        let model = match midr.map(Midr) {
            Some(midr) => named(midr.model(), midr.part(), 3),
            None => "-".into(),
        };
        let online = if masks.online.contains(cpu) {
            "yes"
        } else {
            "no"
        };
        let (cpu, mpidr) = (cpu.index(), mpidr.raw());
        machine.write(format_args!(
            "{cpu:3} {online:>6} {mpidr:#013x} {state:11} {model}\n"
        ));
    }
    for (cpu, state, why) in whys {
        machine.write(format_args!("CPU{cpu} {state}: {why}\n"));
    }
}
