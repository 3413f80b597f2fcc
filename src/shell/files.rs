//! `cat` and `echo … >`: Linux's files of CPUs, below `/sys/devices/system/cpu`, and
//! `/sys/kernel/tracing/tracing_on`.
//!
//! There is no file system. These few paths are known, and read and written as Linux does. Where
//! a path has no directory it is one of those of CPUs:
//!
//! | Path | Read | Written |
//! |---|---|---|
//! | `possible`, `present`, `online`, `offline` | a list of CPUs | |
//! | `cpuN/online` | whether CPU N is online | 1 and 0 bring it up and take it down |
//! | `cpuN/hotplug/state` | the number of the state that it is in | |
//! | `cpuN/hotplug/target` | the same | moves it to the state of this number |
//! | `cpuN/hotplug/fail` | the state whose step fails next, or -1 | has it fail once; -1 takes that back |
//! | `hotplug/states` | numbers and names | |
//! | `/sys/kernel/tracing/tracing_on` | whether events are recorded | 1 and 0 switch that |
//!
//! # Sources
//! Linux `Documentation/core-api/cpu_hotplug.rst`, and `kernel/cpu.c` for what is written;
//! `Documentation/trace/ftrace.rst`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::command::complain;
use super::machine::{Failure, Machine};
use super::options::Parsed;
use super::status::{Outcome, Status};
use crate::cpu::{CpuId, CpuMask};
use crate::errno::Errno;

/// How many files `cat` takes.
pub(super) const WORDS: usize = 8;

const DIRECTORY: &str = "/sys/devices/system/cpu/";
const TRACING: &str = "/sys/kernel/tracing/tracing_on";

/// A file that is known.
enum File {
    Possible,
    Present,
    Online,
    Offline,
    States,
    CpuOnline(CpuId),
    State(CpuId),
    Target(CpuId),
    Fail(CpuId),
    TracingOn,
}

impl File {
    /// Returns the file of this path; `None` if there is none.
    fn of<M: Machine>(machine: &M, path: &str) -> Option<File> {
        if path == TRACING {
            return Some(File::TracingOn);
        }
        let path = path.strip_prefix(DIRECTORY)?;
        let Some((first, rest)) = path.split_once('/') else {
            return Some(match path {
                "possible" => File::Possible,
                "present" => File::Present,
                "online" => File::Online,
                "offline" => File::Offline,
                _ => return None,
            });
        };
        if (first, rest) == ("hotplug", "states") {
            return Some(File::States);
        }
        let number = first.strip_prefix("cpu")?.parse().ok()?;
        let cpu = CpuId::new(number)?;
        let is_there = machine.masks().possible.contains(cpu);
        // `parse` accepts a sign and zeros in front.
        if !is_there || first != format!("cpu{number}") {
            return None;
        }
        Some(match rest {
            "online" => File::CpuOnline(cpu),
            "hotplug/state" => File::State(cpu),
            "hotplug/target" => File::Target(cpu),
            "hotplug/fail" => File::Fail(cpu),
            _ => return None,
        })
    }

    /// Returns the content, with the end of its last line.
    fn read<M: Machine>(&self, machine: &M) -> String {
        let masks = machine.masks();
        match self {
            File::Possible => format!("{}\n", masks.possible),
            File::Present => format!("{}\n", masks.present),
            File::Online => format!("{}\n", masks.online),
            File::Offline => format!("{}\n", masks.possible.without(&masks.online)),
            File::States => states(machine),
            File::CpuOnline(cpu) => format!("{}\n", u8::from(masks.online.contains(*cpu))),
            File::State(cpu) | File::Target(cpu) => format!("{}\n", machine.cpu_state(*cpu)),
            File::TracingOn => format!("{}\n", u8::from(machine.is_tracing())),
            File::Fail(cpu) => match machine.failure(*cpu) {
                None => "-1\n".into(),
                Some(state) => format!("{state}\n"),
            },
        }
    }
}

/// Returns numbers and names of all states, as Linux lists them.
fn states<M: Machine>(machine: &M) -> String {
    let mut text = String::new();
    for row in machine.steps() {
        let colon = if row.group.is_empty() { "" } else { ":" };
        let (number, group, name) = (row.number, row.group, row.name);
        let written = writeln!(text, "{number:3}: {group}{colon}{name}");
        assert!(written.is_ok(), "BUG: a string takes all text");
    }
    text
}

/// `cat`: prints files.
pub(super) fn cat<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let mut status = Status::SUCCESS;
    for path in &args.operands {
        match File::of(machine, path) {
            Some(file) => machine.write(format_args!("{}", file.read(machine))),
            None => {
                let message = format_args!("{path}: No such file or directory");
                complain(machine, "cat", message);
                status = Status::FAILURE;
            }
        }
    }
    Outcome::Continue(status)
}

/// Returns the outcome of an operation on one CPU.
fn only<E>(failed: Vec<(CpuId, E)>) -> Result<(), E> {
    match failed.into_iter().next() {
        None => Ok(()),
        Some((_, error)) => Err(error),
    }
}

/// `echo TEXT > PATH`: writes a file.
pub(super) fn write<M: Machine>(machine: &M, path: &str, text: &str) -> Outcome {
    let Some(file) = File::of(machine, path) else {
        // As a shell says it that may not make files there.
        complain(machine, "sh", format_args!("{path}: Permission denied"));
        return Outcome::Continue(Status::FAILURE);
    };
    let value = text.trim();
    let number = || value.parse::<usize>().ok();
    let written = match (&file, value) {
        (File::CpuOnline(cpu), "0") => Some(only(machine.cpus_down(&CpuMask::of(*cpu)))),
        (File::CpuOnline(cpu), "1") => Some(only(machine.cpus_up(&CpuMask::of(*cpu)))),
        (File::Target(cpu), _) => number().map(|state| machine.set_target(*cpu, state)),
        (File::Fail(cpu), "-1") => Some(machine.set_failure(*cpu, None)),
        (File::Fail(cpu), _) => number().map(|state| machine.set_failure(*cpu, Some(state))),
        (File::TracingOn, "0") => Some(machine.set_tracing(false)),
        (File::TracingOn, "1") => Some(machine.set_tracing(true)),
        (File::CpuOnline(_) | File::TracingOn, _) => None,
        _ => {
            complain(machine, "sh", format_args!("{path}: Permission denied"));
            return Outcome::Continue(Status::FAILURE);
        }
    };
    match written {
        Some(Ok(())) => return Outcome::Continue(Status::SUCCESS),
        Some(Err(error)) => {
            let errno = error.errno();
            let name = errno.name();
            let message = format_args!("write error: {errno} ({name}: {error})");
            complain(machine, "echo", message);
        }
        None => complain(
            machine,
            "echo",
            format_args!("write error: {}", Errno::Invalid),
        ),
    }
    Outcome::Continue(Status::FAILURE)
}
