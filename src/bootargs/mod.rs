//! The kernel command line, with the words that Linux has.
//!
//! A later word wins over an earlier one. The kernel's words end at `--`. A word that the
//! kernel doesn't know is no error, because boot loaders add their own. `words` splits the
//! line into words.
//!
//! A known word with a *bad* value, and a word that isn't UTF-8, change nothing.
//! [`BootArgs::errors`] reads the line again and yields a typed error for each of them.
//! [`BootArgs::parse`] allocates nothing, so it works before there is a heap.
//!
//! # Sources
//! Linux `Documentation/admin-guide/kernel-parameters.txt`.

#![forbid(unsafe_code)]

mod governor;
mod parallel;
mod program;
mod test_args;
mod words;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use log::LevelFilter;

use crate::config::{REALTIME_PERIOD, REALTIME_RUNTIME, WATCHDOG_MAX};
use crate::device::EarlyCon;
use crate::escape::Escaped;
#[cfg(all(feature = "net", not(loom)))]
use crate::net::{IpArg, IpArgError};
use crate::sched::Priority;
use words::words;

pub use governor::Governor;
pub use parallel::Parallel;
pub use test_args::TestArgs;
pub use words::BootArg;

/// The value of `loglevel=` if the line has none.
const DEFAULT_LOGLEVEL: u8 = 6;
/// The largest value of `sched_rt_runtime_us=`.
const REALTIME_PERIOD_US: i32 = 1_000_000;
const _: () = assert!(REALTIME_PERIOD.as_micros() == REALTIME_PERIOD_US as u128);

/// The largest value of `loglevel=`, by which all is shown (Linux's
/// CONSOLE_LOGLEVEL_MOTORMOUTH).
const MAX_LOGLEVEL: u8 = 15;
/// The value of `loglevel=` that `quiet` stands for (Linux's CONSOLE_LOGLEVEL_QUIET).
const QUIET_LOGLEVEL: u8 = 4;
/// The value of `loglevel=` that `debug` stands for (Linux's CONSOLE_LOGLEVEL_DEBUG).
const DEBUG_LOGLEVEL: u8 = 10;

/// The arguments that the kernel knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootArgs<'a> {
    /// `init=`: a sequence of shell commands to run after boot.
    pub init: Option<&'a str>,
    /// `maxcpus=N`: bring up no more than `N` CPUs at boot; `nosmp` is `maxcpus=0`.
    /// See [`BootArgs::boot_cpus`].
    pub maxcpus: Option<usize>,
    /// `nr_cpus=N`: use no more than `N` CPUs, ever. See [`BootArgs::possible_limit`].
    pub nr_cpus: Option<usize>,
    /// `possible_cpus=N`: the same. Linux has it on x86.
    pub possible_cpus: Option<usize>,
    /// `exit=semihosting`: end the emulator with the exit status, instead of a power-off.
    pub exit_semihosting: bool,
    /// `earlycon=KIND,ADDRESS`: the UART to print to before there is a console. Without a
    /// value, and without the word, it is the console of the device tree.
    pub earlycon: Option<EarlyCon>,
    /// `loglevel=N`, 0 to 15; `quiet` is 4 and `debug` is 10, as in Linux. See
    /// [`BootArgs::log_filter`].
    pub loglevel: Option<u8>,
    /// `rcutree.kthread_prio=N`: run the callbacks of RCU in a thread of realtime priority
    /// `N`, 1 to 99. 0, and no such word, mean a normal thread.
    pub rcu_priority: Option<Priority>,
    /// `rcutree.qhimark=N`: hold up callers when more than `N` callbacks of RCU wait on a
    /// CPU.
    pub rcu_mark: Option<u64>,
    /// `sched_rt_runtime_us=N`: for how many microseconds of each second realtime threads may
    /// have a CPU that ordinary threads want; -1: without a bound. See
    /// [`BootArgs::realtime_runtime`].
    pub sched_rt_runtime_us: Option<i32>,
    /// `cpu_down_timeout_ms=N`: turn back from taking a CPU down after `N` milliseconds; 0, and
    /// no such word: never.
    pub cpu_down_timeout_ms: u32,
    /// `watchdog_thresh=N`: say after `N` seconds that a wait goes on; 0: never.
    pub watchdog_thresh: Option<u8>,
    /// `cpu_down_stop=classic|flush`: whether the stop by which a CPU leaves also excludes
    /// preempted threads.
    pub cpu_down_flushes: bool,
    /// `cpuhp.parallel=off|split|on|late`: how several CPUs come up at once.
    pub parallel: Parallel,
    /// `governor=performance|ondemand|userspace`: what decides how many CPUs are online.
    pub governor: Governor,
    /// `ip=`: the address of the network card, as Linux has it. Only with the feature `net`.
    #[cfg(all(feature = "net", not(loom)))]
    pub ip: Option<IpArg>,
    /// `tracing_on=0`: record no events of hotplug and of stops. `1`, and no such word: do.
    pub tracing_off: bool,
    /// The whole line.
    line: &'a [u8],
}

impl<'a> BootArgs<'a> {
    /// Returns the arguments in `line`, which may be any bytes. A wrong word is skipped (see
    /// [`BootArgs::errors`]).
    pub fn parse(line: &'a (impl AsRef<[u8]> + ?Sized)) -> BootArgs<'a> {
        let line = line.as_ref();
        let mut args = BootArgs {
            line,
            ..BootArgs::default()
        };
        for setting in settings(line).filter_map(Result::ok) {
            match setting {
                Setting::Init(commands) => args.init = Some(commands),
                Setting::MaxCpus(count) => args.maxcpus = Some(count),
                Setting::NrCpus(count) => args.nr_cpus = Some(count),
                Setting::PossibleCpus(count) => args.possible_cpus = Some(count),
                Setting::ExitSemihosting => args.exit_semihosting = true,
                Setting::EarlyCon(console) => args.earlycon = console,
                Setting::LogLevel(level) => args.loglevel = Some(level),
                Setting::RcuPriority(priority) => args.rcu_priority = priority,
                Setting::RcuMark(mark) => args.rcu_mark = Some(mark),
                Setting::RealtimeRuntime(time) => args.sched_rt_runtime_us = Some(time),
                Setting::DownTimeout(time) => args.cpu_down_timeout_ms = time,
                Setting::Watchdog(seconds) => args.watchdog_thresh = Some(seconds),
                Setting::DownFlushes(flushes) => args.cpu_down_flushes = flushes,
                Setting::Parallel(how) => args.parallel = how,
                Setting::Governor(governor) => args.governor = governor,
                Setting::Tracing(on) => args.tracing_off = !on,
                #[cfg(all(feature = "net", not(loom)))]
                Setting::Ip(ip) => args.ip = Some(ip),
                Setting::Unknown(_) => {}
            }
        }
        args
    }

    /// Returns how many CPUs to have online after boot, with the boot CPU, or `None` for all.
    /// The other CPUs stay off until they are brought up by hand. `maxcpus=0` and `nosmp` mean
    /// only the boot CPU.
    pub fn boot_cpus(&self) -> Option<usize> {
        self.maxcpus.map(|count| count.max(1))
    }

    /// Returns how many CPUs the kernel may use, with the boot CPU, or `None` for all. Those
    /// beyond are left alone, as if the machine didn't have them. If the line has both words the
    /// lower number holds.
    pub fn possible_limit(&self) -> Option<usize> {
        let given = self.nr_cpus.into_iter().chain(self.possible_cpus);
        given.min()
    }

    /// Returns which messages of the log go to the console: those whose number in Linux is
    /// below `loglevel=`. Without the word that is 6.
    ///
    /// | Our level | is Linux's | | shown from |
    /// |---|---|---|---|
    /// | error | 3, KERN_ERR | | `loglevel=4` on, which is `quiet` |
    /// | warn | 4, KERN_WARNING | | `loglevel=5` |
    /// | info | 5, KERN_NOTICE | how far the boot is, a line for each walk | `loglevel=6` |
    /// | debug | 6, KERN_INFO | each step of a walk | `loglevel=7` |
    /// | trace | 7, KERN_DEBUG | | `loglevel=8`, and `debug` |
    pub fn log_filter(&self) -> LevelFilter {
        match self.loglevel.unwrap_or(DEFAULT_LOGLEVEL) {
            0..=3 => LevelFilter::Off,
            4 => LevelFilter::Error,
            5 => LevelFilter::Warn,
            6 => LevelFilter::Info,
            7 => LevelFilter::Debug,
            8.. => LevelFilter::Trace,
        }
    }

    /// Returns for how long of each second realtime threads may have a CPU that ordinary
    /// threads want, or `None` if there is no bound. Without `sched_rt_runtime_us=` that is
    /// [`REALTIME_RUNTIME`].
    pub fn realtime_runtime(&self) -> Option<Duration> {
        match self.sched_rt_runtime_us {
            None => Some(REALTIME_RUNTIME),
            Some(time) => u64::try_from(time).ok().map(Duration::from_micros),
        }
    }

    /// Returns the line without the words that aren't UTF-8. The name of an `init=` that isn't
    /// UTF-8 stays, so that [`BootArgs::has_unusable_init`] returns the same for the text as
    /// for the line.
    pub fn text(&self) -> String {
        let good = words(self.line).filter_map(|word| match str::from_utf8(word) {
            Ok(text) => Some(text),
            Err(_) => is_init(word).then_some("init"),
        });
        good.collect::<Vec<_>>().join(" ")
    }

    /// Returns whether the line has an `init=` but no commands in it, because it isn't UTF-8
    /// or has no value.
    pub fn has_unusable_init(&self) -> bool {
        self.init.is_none() && self.errors().any(|error| is_init(error.word))
    }

    /// Returns an error for each wrong word of the line, in the order of the words.
    pub fn errors(&self) -> impl Iterator<Item = BootArgError<'a>> + use<'a> {
        settings(self.line).filter_map(Result::err)
    }

    /// Returns the words that the kernel doesn't know, in their order.
    pub fn unknown(&self) -> impl Iterator<Item = BootArg<'a>> + use<'a> {
        settings(self.line).filter_map(|setting| match setting {
            Ok(Setting::Unknown(arg)) => Some(arg),
            _ => None,
        })
    }
}

/// A known word with a bad value, or a word that isn't UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootArgError<'a> {
    /// The word, as it stands in the line.
    pub word: &'a [u8],
    /// What is wrong with it.
    pub kind: BootArgErrorKind,
}

/// What can be wrong with a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootArgErrorKind {
    /// It needs a value and has none.
    MissingValue,
    /// It takes no value and has one.
    UnexpectedValue,
    /// The value is not a decimal number, or too large for one.
    NotANumber,
    /// The word can't have this value.
    BadValue,
    /// The word isn't UTF-8.
    NotUtf8,
    /// It isn't what `ip=` takes.
    #[cfg(all(feature = "net", not(loom)))]
    Ip(IpArgError),
}

impl fmt::Display for BootArgError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.kind {
            BootArgErrorKind::MissingValue => "needs a value",
            BootArgErrorKind::UnexpectedValue => "takes no value",
            BootArgErrorKind::NotANumber => "not a number",
            BootArgErrorKind::BadValue => "no such value",
            BootArgErrorKind::NotUtf8 => "not UTF-8",
            #[cfg(all(feature = "net", not(loom)))]
            BootArgErrorKind::Ip(error) => error.text(),
        };
        let word = Escaped(self.word);
        write!(f, "boot argument '{word}' ignored: {problem}")
    }
}

impl core::error::Error for BootArgError<'_> {}

/// The meaning of one word.
enum Setting<'a> {
    /// `init=` with these commands.
    Init(&'a str),
    /// `maxcpus=` with this number, or `nosmp`, which is 0.
    MaxCpus(usize),
    /// `nr_cpus=` with this number.
    NrCpus(usize),
    /// `possible_cpus=` with this number.
    PossibleCpus(usize),
    /// `exit=semihosting`.
    ExitSemihosting,
    /// `earlycon=` with this UART, or `earlycon` without a value.
    EarlyCon(Option<EarlyCon>),
    /// `loglevel=` with this number, or `quiet` or `debug`.
    LogLevel(u8),
    /// `rcutree.kthread_prio=` with this priority, or with 0.
    RcuPriority(Option<Priority>),
    /// `rcutree.qhimark=` with this number.
    RcuMark(u64),
    /// `sched_rt_runtime_us=` with this number.
    RealtimeRuntime(i32),
    /// `cpu_down_timeout_ms=` with this number.
    DownTimeout(u32),
    /// `watchdog_thresh=` with this number.
    Watchdog(u8),
    /// `cpu_down_stop=` with this value.
    DownFlushes(bool),
    /// `cpuhp.parallel=` with this value.
    Parallel(Parallel),
    /// `governor=` with this value.
    Governor(Governor),
    /// `tracing_on=`, with 1 or 0.
    Tracing(bool),
    /// `ip=` with this value.
    #[cfg(all(feature = "net", not(loom)))]
    Ip(IpArg),
    /// A word that the kernel doesn't know.
    Unknown(BootArg<'a>),
}

/// Returns the meaning of each of the kernel's words in `line`.
fn settings(line: &[u8]) -> impl Iterator<Item = Result<Setting<'_>, BootArgError<'_>>> {
    words(line).take_while(|word| !ends_ours(word)).map(setting)
}

/// Returns whether `word` is the one that ends the kernel's words.
fn ends_ours(word: &[u8]) -> bool {
    matches!(word, b"--" | b"\"--\"")
}

/// Returns the meaning of `word`.
fn setting(word: &[u8]) -> Result<Setting<'_>, BootArgError<'_>> {
    let text = str::from_utf8(word).map_err(|_| BootArgErrorKind::NotUtf8);
    text.and_then(|text| interpret(BootArg::new(text)))
        .map_err(|kind| BootArgError { word, kind })
}

fn interpret(arg: BootArg<'_>) -> Result<Setting<'_>, BootArgErrorKind> {
    let value = arg.value.ok_or(BootArgErrorKind::MissingValue);
    match arg.name {
        "init" => Ok(Setting::Init(value?)),
        "maxcpus" => number(value?).map(Setting::MaxCpus),
        "nr_cpus" => count(value?).map(Setting::NrCpus),
        "possible_cpus" => count(value?).map(Setting::PossibleCpus),
        "nosmp" if value.is_ok() => Err(BootArgErrorKind::UnexpectedValue),
        "nosmp" => Ok(Setting::MaxCpus(0)),
        "exit" if value? == "semihosting" => Ok(Setting::ExitSemihosting),
        "exit" => Err(BootArgErrorKind::BadValue),
        "earlycon" => match arg.value.map(|words| EarlyCon::parse(words.as_bytes())) {
            None => Ok(Setting::EarlyCon(None)),
            Some(Ok(console)) => Ok(Setting::EarlyCon(Some(console))),
            Some(Err(_)) => Err(BootArgErrorKind::BadValue),
        },
        "quiet" | "debug" if value.is_ok() => Err(BootArgErrorKind::UnexpectedValue),
        "quiet" => Ok(Setting::LogLevel(QUIET_LOGLEVEL)),
        "debug" => Ok(Setting::LogLevel(DEBUG_LOGLEVEL)),
        "loglevel" => match u8::try_from(number(value?)?) {
            Ok(level @ 0..=MAX_LOGLEVEL) => Ok(Setting::LogLevel(level)),
            _ => Err(BootArgErrorKind::BadValue),
        },
        "rcutree.kthread_prio" => match u8::try_from(number(value?)?) {
            Ok(0) => Ok(Setting::RcuPriority(None)),
            Ok(level) => match Priority::new(level) {
                Some(priority) => Ok(Setting::RcuPriority(Some(priority))),
                None => Err(BootArgErrorKind::BadValue),
            },
            Err(_) => Err(BootArgErrorKind::BadValue),
        },
        "rcutree.qhimark" => Ok(Setting::RcuMark(number(value?)? as u64)),
        "sched_rt_runtime_us" => match value? {
            "-1" => Ok(Setting::RealtimeRuntime(-1)),
            time => match i32::try_from(number(time)?) {
                Ok(time @ 0..=REALTIME_PERIOD_US) => Ok(Setting::RealtimeRuntime(time)),
                _ => Err(BootArgErrorKind::BadValue),
            },
        },
        "watchdog_thresh" => match u8::try_from(number(value?)?) {
            Ok(seconds @ 0..=WATCHDOG_MAX) => Ok(Setting::Watchdog(seconds)),
            _ => Err(BootArgErrorKind::BadValue),
        },
        "cpu_down_stop" => match value? {
            "classic" => Ok(Setting::DownFlushes(false)),
            "flush" => Ok(Setting::DownFlushes(true)),
            _ => Err(BootArgErrorKind::BadValue),
        },
        "cpuhp.parallel" => match Parallel::from_name(value?) {
            Some(how) => Ok(Setting::Parallel(how)),
            None => Err(BootArgErrorKind::BadValue),
        },
        "governor" => match Governor::from_name(value?) {
            Some(governor) => Ok(Setting::Governor(governor)),
            None => Err(BootArgErrorKind::BadValue),
        },
        #[cfg(all(feature = "net", not(loom)))]
        "ip" => match IpArg::parse(value?) {
            Ok(ip) => Ok(Setting::Ip(ip)),
            Err(error) => Err(BootArgErrorKind::Ip(error)),
        },
        "tracing_on" => match value? {
            "0" => Ok(Setting::Tracing(false)),
            "1" => Ok(Setting::Tracing(true)),
            _ => Err(BootArgErrorKind::BadValue),
        },
        "cpu_down_timeout_ms" => match u32::try_from(number(value?)?) {
            Ok(time) => Ok(Setting::DownTimeout(time)),
            Err(_) => Err(BootArgErrorKind::BadValue),
        },
        _ => Ok(Setting::Unknown(arg)),
    }
}

/// Returns whether `word` is an `init=`, with or without a value.
fn is_init(word: &[u8]) -> bool {
    word.split(|byte| *byte == b'=').next() == Some(b"init")
}

/// Returns the number of CPUs that `text` is, which is not 0.
fn count(text: &str) -> Result<usize, BootArgErrorKind> {
    match number(text)? {
        0 => Err(BootArgErrorKind::BadValue),
        count => Ok(count),
    }
}

fn number(text: &str) -> Result<usize, BootArgErrorKind> {
    // `parse` accepts a plus sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BootArgErrorKind::NotANumber);
    }
    text.parse().map_err(|_| BootArgErrorKind::NotANumber)
}

#[cfg(test)]
mod tests;
