//! `taskset`: the CPUs that a thread may run on, with util-linux's options and messages.
//!
//! # Sources
//! util-linux taskset(1).

use alloc::format;
use alloc::string::{String, ToString};

use super::around::{Begun, Next, Wrapper};
use super::command::{bad_usage, complain, fail};
use super::cpulist::parse_cpu_list;
use super::machine::{Machine, ThreadRow};
use super::numbers::{Wrong, number};
use super::options::{Opt, Parsed};
use super::status::{Outcome, Status};
use crate::config::MAX_CPUS;
use crate::cpu::{CpuId, CpuMask};
use crate::errno::Errno;

/// The command's name in messages.
const NAME: &str = "taskset";

/// The options of `taskset`.
pub(super) const OPTIONS: [Opt; 2] = [
    Opt {
        short: 'p',
        long: "pid",
        value: None,
        help: "operate on existing given pid",
    },
    Opt {
        short: 'c',
        long: "cpu-list",
        value: None,
        help: "display and specify cpus in list format",
    },
];

/// `taskset`: shows or sets the CPUs of a thread, or runs a command on some CPUs.
pub(super) fn run<M: Machine>(machine: &M, args: &Parsed<'_>) -> Begun<M> {
    let is_list = args.has('c');
    if args.has('p') {
        return Begun::Ended(match args.operands.as_slice() {
            [pid] => of_thread(machine, pid, None, is_list),
            [cpus, pid] => of_thread(machine, pid, Some(*cpus), is_list),
            _ => bad_usage(machine, NAME),
        });
    }
    let [cpus, _, ..] = args.operands.as_slice() else {
        return Begun::Ended(bad_usage(machine, NAME));
    };
    let Some(cpus) = parse(machine, cpus, is_list) else {
        return Begun::Ended(Outcome::Continue(Status::FAILURE));
    };
    let me = machine.this_thread();
    let before = row(machine, me).map(|row| row.cpus);
    match machine.set_affinity(me, &cpus) {
        Ok(()) => Begun::wraps(Restricted { before }),
        Err(error) => Begun::Ended(fail(machine, NAME, &error)),
    }
}

/// `taskset` while its command runs.
struct Restricted {
    /// The CPUs on which the thread could run before.
    before: Option<CpuMask>,
}

impl<M: Machine> Wrapper<M> for Restricted {
    fn next(&mut self, machine: &M, ended: Option<Outcome>) -> Next {
        let Some(outcome) = ended else {
            return Next::Run;
        };
        // The command may have taken down the CPUs that there were.
        if let Some(before) = &self.before
            && let Err(error) = machine.set_affinity(machine.this_thread(), before)
        {
            return Next::End(fail(machine, NAME, &error));
        }
        Next::End(outcome)
    }
}

/// Shows the CPUs of the thread `pid`; with `cpus`, sets them.
fn of_thread<M: Machine>(machine: &M, pid: &str, cpus: Option<&str>, is_list: bool) -> Outcome {
    let Some(id) = number(pid) else {
        complain(machine, NAME, format_args!("invalid PID argument: '{pid}'"));
        return Outcome::Continue(Status::FAILURE);
    };
    let new = match cpus {
        None => None,
        Some(word) => match parse(machine, word, is_list) {
            None => return Outcome::Continue(Status::FAILURE),
            some => some,
        },
    };
    let missing = || Wrong::new(Errno::NoProcess, format!("pid {pid}"));
    let Some(row) = row(machine, id) else {
        return fail(machine, NAME, &missing());
    };
    show(machine, id, "current", &row.cpus, is_list);
    if let Some(cpus) = new {
        if let Err(error) = machine.set_affinity(id, &cpus) {
            return fail(machine, NAME, &error);
        }
        let now = self::row(machine, id).map_or(cpus, |row| row.cpus);
        show(machine, id, "new", &now, is_list);
    }
    Outcome::Continue(Status::SUCCESS)
}

/// Returns the thread `id`.
pub(super) fn row<M: Machine>(machine: &M, id: usize) -> Option<ThreadRow> {
    machine.threads().into_iter().find(|row| row.id == id)
}

/// Prints the CPUs of a thread.
fn show<M: Machine>(machine: &M, id: usize, when: &str, cpus: &CpuMask, is_list: bool) {
    let (kind, text) = if is_list {
        ("list", cpus.to_string())
    } else {
        ("mask", hex(cpus))
    };
    machine.write(format_args!("pid {id}'s {when} affinity {kind}: {text}\n"));
}

/// Returns the CPUs of `word`, a list or a mask; `None`, with a message, if it is none, or one
/// of none that there is.
fn parse<M: Machine>(machine: &M, word: &str, is_list: bool) -> Option<CpuMask> {
    let cpus = if is_list {
        parse_cpu_list(word).ok()
    } else {
        from_hex(word)
    };
    let Some(cpus) = cpus else {
        let kind = if is_list { "list" } else { "mask" };
        complain(
            machine,
            NAME,
            format_args!("failed to parse CPU {kind}: {word}"),
        );
        return None;
    };
    let possible = machine.masks().possible;
    if cpus.without(&cpus.without(&possible)).is_empty() {
        let error = Wrong::new(Errno::Invalid, format!("no CPU of {word} exists"));
        let _failure = fail(machine, NAME, &error);
        return None;
    }
    Some(cpus)
}

/// Returns the mask in hexadecimal digits, CPU 0 in the last.
fn hex(cpus: &CpuMask) -> String {
    let digit = |at: usize| {
        let bits = (4 * at..4 * at + 4).filter_map(CpuId::new);
        let bits = bits.filter(|cpu| cpus.contains(*cpu));
        bits.map(|cpu| 1 << (cpu.index() % 4)).sum::<u32>()
    };
    let digits = (0..MAX_CPUS.div_ceil(4)).rev().map(digit);
    let mut digits = digits.skip_while(|digit| *digit == 0).peekable();
    if digits.peek().is_none() {
        return "0".into();
    }
    digits
        .filter_map(|digit| char::from_digit(digit, 16))
        .collect()
}

/// Returns the CPUs of a mask in hexadecimal digits, with `0x` in front or without.
fn from_hex(word: &str) -> Option<CpuMask> {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let mut cpus = CpuMask::EMPTY;
    for (at, digit) in digits.chars().rev().enumerate() {
        let digit = digit.to_digit(16)?;
        for bit in (0..4).filter(|bit| digit & (1 << bit) != 0) {
            cpus.insert(CpuId::new(4 * at + bit)?);
        }
    }
    (!digits.is_empty()).then_some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_written_as_it_is_read() {
        for (word, list) in [("f", "0-3"), ("0x10", "4"), ("8001", "0,15"), ("a0", "5,7")] {
            let cpus = parse_cpu_list(list).unwrap();
            assert_eq!(from_hex(word), Some(cpus), "{word}");
            assert_eq!(hex(&cpus), word.trim_start_matches("0x"));
        }
        assert_eq!(hex(&CpuMask::EMPTY), "0");
        let last = CpuMask::of(CpuId::new(MAX_CPUS - 1).unwrap());
        assert_eq!(from_hex(&hex(&last)), Some(last));
        for word in ["", "0x", "g", "-1", &"f".repeat(129)] {
            assert_eq!(from_hex(word), None, "{word}");
        }
    }
}
