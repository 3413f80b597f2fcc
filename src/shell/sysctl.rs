//! `sysctl`: the settings of the scheduler that may change while the machine runs.
//!
//! Keys and values are Linux's, and messages are those of procps. Linux has the settings as
//! files below `/proc/sys`; here there are no files.

use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::command::{bad_usage, complain};
use super::machine::Machine;
use super::options::{Opt, Parsed};
use super::status::{Outcome, Status};
use crate::config::REALTIME_PERIOD;
use crate::errno::Errno;

/// The options of `sysctl`.
pub(super) const OPTIONS: [Opt; 3] = [
    Opt {
        short: 'a',
        long: "all",
        value: None,
        help: "show all settings",
    },
    Opt {
        short: 'n',
        long: "values",
        value: None,
        help: "show only the values",
    },
    Opt {
        short: 'w',
        long: "write",
        value: None,
        help: "set: each word is KEY=VALUE",
    },
];

/// How many words `sysctl` takes.
pub(super) const WORDS: usize = 8;

const RUNTIME: &str = "kernel.sched_rt_runtime_us";
const PERIOD: &str = "kernel.sched_rt_period_us";

/// Why a setting was not read or not changed.
enum Refusal<'a> {
    NoSuchKey(&'a str),
    ReadOnly(&'a str),
    BadValue(&'a str),
    NoValue(&'a str),
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchKey(key) => {
                let path = key.replace('.', "/");
                write!(f, "cannot stat /proc/sys/{path}: No such file or directory")
            }
            Self::ReadOnly(key) => write!(f, "permission denied on key \"{key}\""),
            Self::BadValue(key) => write!(f, "setting key \"{key}\": {}", Errno::Invalid),
            Self::NoValue(word) => write!(f, "\"{word}\" must be of the form name=value"),
        }
    }
}

/// `sysctl`: shows settings, and changes those behind which `=` and a value stand.
pub(super) fn run<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let has = |letter| args.options.iter().any(|(short, _)| *short == letter);
    if has('a') {
        for key in [PERIOD, RUNTIME] {
            show(machine, key, has('n'));
        }
        return Outcome::Continue(Status::SUCCESS);
    }
    if args.operands.is_empty() {
        return bad_usage(machine, "sysctl");
    }
    let requests: Vec<_> = args
        .operands
        .iter()
        .map(|word| Request::parse(word, has('w')))
        .collect();
    let mut wrong = requests.iter().filter_map(|request| request.as_ref().err());
    // (`judged-whole` of the shell)
    if let Some(refusal) = wrong.next() {
        complain(machine, "sysctl", format_args!("{refusal}"));
        return Outcome::Continue(Status::FAILURE);
    }
    for request in requests.into_iter().flatten() {
        if let Some(runtime) = request.runtime {
            machine.set_realtime_runtime(runtime);
        }
        show(machine, request.key, has('n'));
    }
    Outcome::Continue(Status::SUCCESS)
}

/// Returns the key that `word` names, with `.` or `/` between its parts.
fn known(word: &str) -> Result<&'static str, Refusal<'_>> {
    let is_it = |key: &&str| word.split(['.', '/']).eq(key.split('.'));
    let found = [PERIOD, RUNTIME].into_iter().find(is_it);
    found.ok_or(Refusal::NoSuchKey(word))
}

/// What a word asks for: to show a setting, and to change it before.
struct Request {
    key: &'static str,
    runtime: Option<Option<Duration>>,
}

impl Request {
    /// Reads `word`; if it `must_set`, a value stands behind the key.
    fn parse(word: &str, must_set: bool) -> Result<Request, Refusal<'_>> {
        let Some((key, value)) = word.split_once('=') else {
            if must_set {
                return Err(Refusal::NoValue(word));
            }
            let key = known(word)?;
            return Ok(Request { key, runtime: None });
        };
        let key = known(key.trim())?;
        if key == PERIOD {
            return Err(Refusal::ReadOnly(PERIOD));
        }
        let runtime = match value.trim().parse::<i64>() {
            Ok(-1) => None,
            Ok(us) => {
                let time = u64::try_from(us).ok().map(Duration::from_micros);
                let time = time.filter(|time| *time <= REALTIME_PERIOD);
                Some(time.ok_or(Refusal::BadValue(RUNTIME))?)
            }
            Err(_) => return Err(Refusal::BadValue(RUNTIME)),
        };
        Ok(Request {
            key,
            runtime: Some(runtime),
        })
    }
}

/// Prints the setting `key`.
fn show<M: Machine>(machine: &M, key: &str, value_only: bool) {
    let value = if key == PERIOD {
        format!("{}", REALTIME_PERIOD.as_micros())
    } else {
        let runtime = machine.realtime_runtime();
        runtime.map_or_else(|| "-1".into(), |time| format!("{}", time.as_micros()))
    };
    if value_only {
        machine.write(format_args!("{value}\n"));
    } else {
        machine.write(format_args!("{key} = {value}\n"));
    }
}
