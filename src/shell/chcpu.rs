//! `chcpu`: CPUs up and down, with util-linux's options and messages.
//!
//! In one thing it is stricter than util-linux: it checks the whole list before
//! it touches the first CPU, so a list with a CPU that doesn't exist changes
//! nothing. After that all CPUs come or go in one operation. If some fail, the others come or
//! go all the same, and the status says whether all ([`Status::FAILURE`]) or some of them
//! ([`Status::PARTIAL`]) failed.
//!
//! # Sources
//! util-linux chcpu(8).

use super::command::{bad_usage, complain};
use super::cpulist::{CpuListError, CpuListErrorKind, parse_cpu_list};
use super::machine::{CpuState, Failure, Machine};
use super::options::{Opt, Parsed};
use super::status::{Outcome, Status};
use crate::cpu::{CpuId, CpuMask};
use crate::errno::Errno;

/// The command's name in messages.
const NAME: &str = "chcpu";

/// The options of `chcpu`.
pub(super) const OPTIONS: [Opt; 2] = [
    Opt {
        short: 'e',
        long: "enable",
        value: Some("cpu-list"),
        help: "enable cpus",
    },
    Opt {
        short: 'd',
        long: "disable",
        value: Some("cpu-list"),
        help: "disable cpus",
    },
];

/// Runs `chcpu`.
pub(super) fn run<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    // If one option is given twice, the last one counts, as in util-linux.
    let Some(&(action, list)) = args.options.last() else {
        return bad_usage(machine, NAME);
    };
    if args.options.iter().any(|(other, _)| *other != action) {
        complain(
            machine,
            NAME,
            format_args!("mutually exclusive arguments: --disable --enable"),
        );
        return Outcome::Continue(Status::FAILURE);
    }
    let Some(cpus) = check_list(machine, list) else {
        return Outcome::Continue(Status::FAILURE);
    };
    let failed = change(machine, &cpus, action == 'e');
    Outcome::Continue(if failed == 0 {
        Status::SUCCESS
    } else if failed == cpus.count() {
        Status::FAILURE
    } else {
        Status::PARTIAL
    })
}

/// Returns the CPUs of `list` if it is a CPU list and all of them exist. Otherwise
/// prints what is wrong and returns `None`.
fn check_list<M: Machine>(machine: &M, list: &str) -> Option<CpuMask> {
    let cpus = match parse_cpu_list(list) {
        Ok(cpus) => cpus,
        Err(error @ CpuListError { kind, .. }) => {
            let problem = match kind {
                CpuListErrorKind::TooLarge => "invalid CPU number in CPU list",
                _ => "failed to parse CPU list",
            };
            complain(machine, NAME, format_args!("{problem}: {list} ({error})"));
            return None;
        }
    };
    let missing = cpus.without(&machine.masks().possible);
    for cpu in missing.iter() {
        complain(
            machine,
            NAME,
            format_args!("CPU {cpu} does not exist ({})", Errno::Invalid.name()),
        );
    }
    missing.is_empty().then_some(cpus)
}

/// Brings `cpus` up, or takes them down, and prints the outcome for each. Returns how many of
/// them are not where they were to go.
fn change<M: Machine>(machine: &M, cpus: &CpuMask, up: bool) -> usize {
    let there: CpuMask = if up {
        // One that rests half way is online, and goes on from there.
        let is_up = |cpu: &CpuId| machine.cpu_info(*cpu).state == CpuState::Online;
        cpus.iter().filter(is_up).collect()
    } else {
        cpus.without(&machine.masks().online)
    };
    let to_change = cpus.without(&there);
    if !up {
        machine.keep_off(&there); // The governor may have taken them down.
    }
    let (action, failed) = if up {
        ("enable", machine.cpus_up(&to_change))
    } else {
        ("disable", machine.cpus_down(&to_change))
    };
    for cpu in cpus.iter() {
        let error = failed.iter().find(|(it, _)| *it == cpu);
        match error {
            Some((_, error)) => complain(
                machine,
                NAME,
                format_args!(
                    "CPU {cpu} {action} failed: {} ({}: {error})",
                    error.errno(),
                    error.errno().name()
                ),
            ),
            None if there.contains(cpu) => {
                machine.write(format_args!("CPU {cpu} is already {action}d\n"));
            }
            None => machine.write(format_args!("CPU {cpu} {action}d\n")),
        }
    }
    failed.len()
}
