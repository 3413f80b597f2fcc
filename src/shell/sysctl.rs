//! `sysctl`: the settings that may change while the machine runs.
//!
//! Keys and values of the scheduler are Linux's, and messages are those of procps. The settings
//! are files below `/proc/sys`, too: see `files`.

use alloc::format;
use alloc::string::String;
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
pub(super) const KEYS: [&str; 4] = [DOWN, PERIOD, RUNTIME, WATCHDOG];

/// Why a setting was not read or not changed.
pub(super) enum Refusal<'a> {
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
        if let Some(change) = request.change {
            apply(machine, change);
        }
        show(machine, request.key, has('n'));
    }
    Outcome::Continue(Status::SUCCESS)
}

/// Sets the setting `key` to what `text` says.
///
/// # Errors
/// [`Refusal`]; nothing has changed then.
pub(super) fn set<M: Machine>(
    machine: &M,
    key: &'static str,
    text: &str,
) -> Result<(), Refusal<'static>> {
    apply(machine, Change::parse(key, text)?);
    Ok(())
}

fn apply<M: Machine>(machine: &M, change: Change) {
    match change {
        Change::Runtime(runtime) => machine.set_realtime_runtime(runtime),
        Change::DownLimit(limit) => machine.set_down_limit(limit),
        Change::Watchdog(seconds) => machine.set_watchdog_seconds(seconds),
    }
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
        Ok(Request {
            key,
            change: Some(Change::parse(key, value)?),
        })
    }
}

impl Change {
    /// Reads the value `text` of the setting `key`.
    fn parse(key: &'static str, text: &str) -> Result<Change, Refusal<'static>> {
        if key == PERIOD {
            return Err(Refusal::ReadOnly(PERIOD));
        }
        let bad = || Refusal::BadValue(key);
        let number = text.trim().parse::<i64>().map_err(|_| bad())?;
        Ok(if key == DOWN {
            let time = u32::try_from(number).map_err(|_| bad())?;
            let limit = Duration::from_millis(time.into());
            Change::DownLimit(Some(limit).filter(|limit| !limit.is_zero()))
        } else if key == WATCHDOG {
            let seconds = u8::try_from(number).ok();
            let seconds = seconds.filter(|seconds| *seconds <= WATCHDOG_MAX);
            Change::Watchdog(seconds.ok_or_else(bad)?)
        } else if number == -1 {
            Change::Runtime(None)
        } else {
            let time = u64::try_from(number).ok().map(Duration::from_micros);
            let time = time.filter(|time| *time <= REALTIME_PERIOD);
            Change::Runtime(Some(time.ok_or_else(bad)?))
        })
    }
}

/// Returns the value of the setting `key`.
pub(super) fn value<M: Machine>(machine: &M, key: &str) -> String {
    match key {
        PERIOD => format!("{}", REALTIME_PERIOD.as_micros()),
        WATCHDOG => format!("{}", machine.watchdog_seconds()),
        DOWN => format!("{}", machine.down_limit().unwrap_or_default().as_millis()),
        _ => {
            let runtime = machine.realtime_runtime();
            runtime.map_or_else(|| "-1".into(), |time| format!("{}", time.as_micros()))
        }
    }
}

/// Prints the setting `key`.
fn show<M: Machine>(machine: &M, key: &str, value_only: bool) {
    let value = value(machine, key);
    if value_only {
        machine.write(format_args!("{value}\n"));
    } else {
        machine.write(format_args!("{key} = {value}\n"));
    }
}
