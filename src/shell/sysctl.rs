//! `sysctl`: the settings that may change while the machine runs.
//!
//! Keys and values of the scheduler are Linux's, and messages are those of procps. Linux has the settings as
//! files below `/proc/sys`; here there are no files.

use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::command::{bad_usage, complain};
use super::machine::Machine;
use super::options::{Opt, Parsed};
use super::status::{Outcome, Status};
use crate::config::{REALTIME_PERIOD, WATCHDOG_MAX};
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
const DOWN: &str = "kernel.cpu_down_timeout_ms";
const WATCHDOG: &str = "kernel.watchdog_thresh";
/// All keys, in the order of their names.
const KEYS: [&str; 4] = [DOWN, PERIOD, RUNTIME, WATCHDOG];

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
        for key in KEYS {
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
        match request.change {
            None => {}
            Some(Change::Runtime(runtime)) => machine.set_realtime_runtime(runtime),
            Some(Change::DownLimit(limit)) => machine.set_down_limit(limit),
            Some(Change::Watchdog(seconds)) => machine.set_watchdog_seconds(seconds),
        }
        show(machine, request.key, has('n'));
    }
    Outcome::Continue(Status::SUCCESS)
}

/// Returns the key that `word` names, with `.` or `/` between its parts.
fn known(word: &str) -> Result<&'static str, Refusal<'_>> {
    let is_it = |key: &&str| word.split(['.', '/']).eq(key.split('.'));
    let found = KEYS.into_iter().find(is_it);
    found.ok_or(Refusal::NoSuchKey(word))
}

/// What a word asks for: to show a setting, and to change it before.
struct Request {
    key: &'static str,
    change: Option<Change>,
}

/// A new value.
enum Change {
    Runtime(Option<Duration>),
    DownLimit(Option<Duration>),
    Watchdog(u8),
}

impl Request {
    /// Reads `word`; if it `must_set`, a value stands behind the key.
    fn parse(word: &str, must_set: bool) -> Result<Request, Refusal<'_>> {
        let Some((key, value)) = word.split_once('=') else {
            if must_set {
                return Err(Refusal::NoValue(word));
            }
            let key = known(word)?;
            return Ok(Request { key, change: None });
        };
        let key = known(key.trim())?;
        if key == PERIOD {
            return Err(Refusal::ReadOnly(PERIOD));
        }
        let number = value.trim().parse::<i64>();
        let number = number.map_err(|_| Refusal::BadValue(key))?;
        let change = if key == DOWN {
            let time = u32::try_from(number).map_err(|_| Refusal::BadValue(key))?;
            let limit = Duration::from_millis(time.into());
            Change::DownLimit(Some(limit).filter(|limit| !limit.is_zero()))
        } else if key == WATCHDOG {
            let seconds = u8::try_from(number).ok();
            let seconds = seconds.filter(|seconds| *seconds <= WATCHDOG_MAX);
            Change::Watchdog(seconds.ok_or(Refusal::BadValue(key))?)
        } else if number == -1 {
            Change::Runtime(None)
        } else {
            let time = u64::try_from(number).ok().map(Duration::from_micros);
            let time = time.filter(|time| *time <= REALTIME_PERIOD);
            Change::Runtime(Some(time.ok_or(Refusal::BadValue(key))?))
        };
        Ok(Request {
            key,
            change: Some(change),
        })
    }
}

/// Prints the setting `key`.
fn show<M: Machine>(machine: &M, key: &str, value_only: bool) {
    let value = match key {
        PERIOD => format!("{}", REALTIME_PERIOD.as_micros()),
        WATCHDOG => format!("{}", machine.watchdog_seconds()),
        DOWN => format!("{}", machine.down_limit().unwrap_or_default().as_millis()),
        _ => {
            let runtime = machine.realtime_runtime();
            runtime.map_or_else(|| "-1".into(), |time| format!("{}", time.as_micros()))
        }
    };
    if value_only {
        machine.write(format_args!("{value}\n"));
    } else {
        machine.write(format_args!("{key} = {value}\n"));
    }
}
