//! Commands that show what the hotplug does when something goes wrong: `fail`, `target`,
//! `hold`; and `psci`, which asks firmware.

use super::command::{Word, bad_usage, complain, fail as failed};
use super::machine::Machine;
use super::numbers::{Wrong, cpu, step};
use super::options::Parsed;
use super::status::{Outcome, Status};
use crate::errno::Errno;
use crate::platform::PsciQuery;

const DONE: Outcome = Outcome::Continue(Status::SUCCESS);

/// `fail`: has a step of a CPU fail once, shows which will, or takes that back.
pub(super) fn fail<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let (cpu, word) = match args.operands.as_slice() {
        [] => {
            show_failures(machine);
            return DONE;
        }
        [cpu] => (cpu, "-1"),
        [cpu, word, ..] => (cpu, *word),
    };
    let state = match word {
        "-1" | "off" => Ok(None),
        word => step(machine, word).map(Some),
    };
    let (cpu, state) = match (self::cpu(machine, cpu), state) {
        (Ok(cpu), Ok(state)) => (cpu, state),
        (Err(error), _) | (_, Err(error)) => return failed(machine, "fail", &error),
    };
    match machine.set_failure(cpu, state) {
        Ok(()) => DONE,
        Err(error) => failed(machine, "fail", &error),
    }
}

/// Prints a line for each CPU of which a step is to fail.
fn show_failures<M: Machine>(machine: &M) {
    for cpu in machine.masks().possible.iter() {
        if let Some(state) = machine.failure(cpu) {
            let row = machine.steps().find(|row| row.number == state);
            let name = row.map(|row| row.full_name()).unwrap_or_default();
            machine.write(format_args!("CPU {cpu}: {state}: {name}\n"));
        }
    }
}

/// `target`: moves a CPU to a state, and leaves it there.
pub(super) fn target<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let [cpu, word] = args.operands.as_slice() else {
        return bad_usage(machine, "target");
    };
    let (cpu, state) = match (self::cpu(machine, cpu), step(machine, word)) {
        (Ok(cpu), Ok(state)) => (cpu, state),
        (Err(error), _) | (_, Err(error)) => return failed(machine, "target", &error),
    };
    match machine.set_target(cpu, state) {
        Ok(()) => DONE,
        Err(error) => failed(machine, "target", &error),
    }
}

/// `hold`: has a CPU wait at its entry the next time that it is started, or lets it go on.
pub(super) fn hold<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let (cpu, held) = match args.operands.as_slice() {
        [cpu] | [cpu, "on"] => (cpu, true),
        [cpu, "off"] => (cpu, false),
        _ => return bad_usage(machine, "hold"),
    };
    match self::cpu(machine, cpu) {
        Ok(cpu) => {
            machine.set_held(cpu, held);
            DONE
        }
        Err(error) => failed(machine, "hold", &error),
    }
}

/// The functions of PSCI that `psci` knows by name.
pub(super) const CALLS: [&str; 4] = ["version", "affinity_info", "features", "migrate_info_type"];

/// Returns what stands behind the call, the first of `before`.
pub(super) fn argument(before: &[&str]) -> Word {
    match before {
        ["affinity_info", ..] => Word::CpuOr(&[]),
        ["features", ..] => Word::OneOf(&NAMES),
        _ => Word::Any,
    }
}

/// Functions that would change the machine behind the kernel's back.
const FORBIDDEN: [&str; 8] = [
    "cpu_on",
    "cpu_off",
    "cpu_suspend",
    "migrate",
    "system_off",
    "system_reset",
    "system_reset2",
    "system_suspend",
];

/// What PSCI answers, and what an answer of a function means.
const ANSWERS: [(i64, &str); 10] = [
    (0, "SUCCESS"),
    (-1, "NOT_SUPPORTED"),
    (-2, "INVALID_PARAMETERS"),
    (-3, "DENIED"),
    (-4, "ALREADY_ON"),
    (-5, "ON_PENDING"),
    (-6, "INTERNAL_FAILURE"),
    (-7, "NOT_PRESENT"),
    (-8, "DISABLED"),
    (-9, "INVALID_ADDRESS"),
];

/// `psci`: asks firmware, and prints its answer as a number and in PSCI's words.
pub(super) fn psci<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let query = match args.operands.as_slice() {
        ["version"] => Ok(PsciQuery::Version),
        ["migrate_info_type"] => Ok(PsciQuery::MigrateInfoType),
        ["affinity_info", word] => {
            cpu(machine, word).map(|cpu| PsciQuery::AffinityInfo(machine.cpu_info(cpu).mpidr))
        }
        ["features", word] => function(word).map(PsciQuery::Features),
        [call, ..] if FORBIDDEN.contains(call) => Err(Wrong::new(
            Errno::NotPermitted,
            alloc::format!("{call} would change the machine behind the kernel's back"),
        )),
        [call, ..] if !CALLS.contains(call) => {
            complain(machine, "psci", format_args!("no such call: {call}"));
            return Outcome::Continue(Status::FAILURE);
        }
        _ => return bad_usage(machine, "psci"),
    };
    let query = match query {
        Ok(query) => query,
        Err(error) => return failed(machine, "psci", &error),
    };
    let answer = match machine.psci(query) {
        Ok(answer) => answer,
        Err(error) => return failed(machine, "psci", &error),
    };
    match (query, answer) {
        (PsciQuery::Version, 0..) => {
            machine.write(format_args!("{}.{}\n", answer >> 16, answer & 0xffff));
        }
        (PsciQuery::AffinityInfo(_), 0..=2) => {
            let state = ["ON", "OFF", "ON_PENDING"][usize::try_from(answer).unwrap_or(0)];
            machine.write(format_args!("{answer} {state}\n"));
        }
        (PsciQuery::MigrateInfoType, 0..=2) => {
            let kind = [
                "migrate capable",
                "not migrate capable",
                "migration not required",
            ];
            let kind = kind[usize::try_from(answer).unwrap_or(0)];
            machine.write(format_args!("{answer} {kind}\n"));
        }
        _ => {
            let name = ANSWERS.iter().find(|(number, _)| *number == answer);
            let name = name.map_or("", |(_, name)| name);
            machine.write(format_args!("{answer} {name}\n"));
        }
    }
    DONE
}

/// The functions that `features` knows by name, with their numbers.
const FUNCTIONS: [(&str, u32); 12] = [
    ("version", 0x8400_0000),
    ("cpu_suspend", 0xc400_0001),
    ("cpu_off", 0x8400_0002),
    ("cpu_on", 0xc400_0003),
    ("affinity_info", 0xc400_0004),
    ("migrate", 0xc400_0005),
    ("migrate_info_type", 0x8400_0006),
    ("system_off", 0x8400_0008),
    ("system_reset", 0x8400_0009),
    ("features", 0x8400_000a),
    ("system_suspend", 0xc400_000e),
    ("system_reset2", 0xc400_0012),
];

/// The names of [`FUNCTIONS`].
const NAMES: [&str; FUNCTIONS.len()] = {
    let mut names = [""; FUNCTIONS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = FUNCTIONS[at].0;
        at += 1;
    }
    names
};

/// Returns the number of the function `word`: a name, or a number in hexadecimal.
fn function(word: &str) -> Result<u32, Wrong> {
    if let Some((_, number)) = FUNCTIONS.iter().find(|(name, _)| *name == word) {
        return Ok(*number);
    }
    let digits = word.strip_prefix("0x").unwrap_or("");
    let number = u32::from_str_radix(digits, 16).ok();
    number.ok_or_else(|| Wrong::new(Errno::Invalid, alloc::format!("no function '{word}'")))
}
