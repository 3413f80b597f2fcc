//! The governor's files, in `/sys/devices/system/cpu/governor`, with the names that Linux's cpufreq
//! has for the same of frequencies.
//!
//! | File | Read | Written |
//! |---|---|---|
//! | `scaling_governor` | its name | chooses one |
//! | `scaling_available_governors` | the names of all | |
//! | `scaling_min_cpus`, `scaling_max_cpus` | floor and ceiling | set them |
//! | `scaling_cur_cpus` | how many CPUs are online | |
//! | `scaling_setcpus` | the same with `userspace`, else `<unsupported>` | has so many online, with `userspace` |
//! | `given_back` | the CPUs that it may bring up | |
//! | `ondemand/…_us`, `ondemand/target_busy` | the settings of `ondemand`: microseconds, percent | set them |
//! | `stats/…` | what it has done | |

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::Written;
use crate::errno::Errno;
use crate::governor::{Governor, Tunables};
use crate::shell::machine::Machine;

/// The directory, without the slash in front.
pub(super) const DIRECTORY: &str = "sys/devices/system/cpu/governor";

/// A file of the governor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GovernorFile {
    Governor,
    Available,
    MinCpus,
    MaxCpus,
    CurCpus,
    SetCpus,
    GivenBack,
    Time(Time),
    TargetBusy,
    Transitions,
    Refused,
    Looks,
    Hold,
}

/// A setting that is a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    UpWait,
    DownDelay,
    DownDelayMax,
    SamplingRate,
    RateLimit,
}

/// All files, with their names in the directory.
pub(super) const ALL: [(&str, GovernorFile); 17] = [
    ("given_back", GovernorFile::GivenBack),
    (
        "ondemand/down_delay_max_us",
        GovernorFile::Time(Time::DownDelayMax),
    ),
    (
        "ondemand/down_delay_us",
        GovernorFile::Time(Time::DownDelay),
    ),
    (
        "ondemand/rate_limit_us",
        GovernorFile::Time(Time::RateLimit),
    ),
    (
        "ondemand/sampling_rate_us",
        GovernorFile::Time(Time::SamplingRate),
    ),
    ("ondemand/target_busy", GovernorFile::TargetBusy),
    ("ondemand/up_wait_us", GovernorFile::Time(Time::UpWait)),
    ("scaling_available_governors", GovernorFile::Available),
    ("scaling_cur_cpus", GovernorFile::CurCpus),
    ("scaling_governor", GovernorFile::Governor),
    ("scaling_max_cpus", GovernorFile::MaxCpus),
    ("scaling_min_cpus", GovernorFile::MinCpus),
    ("scaling_setcpus", GovernorFile::SetCpus),
    ("stats/hold_us", GovernorFile::Hold),
    ("stats/looks", GovernorFile::Looks),
    ("stats/refused", GovernorFile::Refused),
    ("stats/total_trans", GovernorFile::Transitions),
];

impl Time {
    /// Returns where the settings have it.
    fn of(self, tunables: &mut Tunables) -> &mut Duration {
        match self {
            Time::UpWait => &mut tunables.up_wait,
            Time::DownDelay => &mut tunables.down_delay,
            Time::DownDelayMax => &mut tunables.down_delay_max,
            Time::SamplingRate => &mut tunables.sampling_rate,
            Time::RateLimit => &mut tunables.rate_limit,
        }
    }
}

impl GovernorFile {
    /// Returns the content, with the end of its line.
    pub(super) fn read<M: Machine>(self, machine: &M) -> String {
        let Ok(mut report) = machine.governor() else {
            return String::new(); // A thread that may not wait for it.
        };
        let done = &report.statistics;
        match self {
            GovernorFile::Governor => format!("{}\n", report.governor.name()),
            GovernorFile::Available => Governor::ALL.map(Governor::name).join(" ") + "\n",
            GovernorFile::MinCpus => format!("{}\n", report.tunables.min_cpus),
            GovernorFile::MaxCpus => format!("{}\n", report.tunables.max_cpus),
            GovernorFile::SetCpus if report.governor != Governor::Userspace => {
                "<unsupported>\n".into()
            }
            GovernorFile::CurCpus | GovernorFile::SetCpus => {
                format!("{}\n", machine.masks().active.count())
            }
            GovernorFile::GivenBack => format!("{}\n", report.given_back),
            GovernorFile::Time(time) => {
                format!("{}\n", time.of(&mut report.tunables).as_micros())
            }
            GovernorFile::TargetBusy => format!("{}\n", report.tunables.target_busy),
            GovernorFile::Transitions => format!("{}\n", done.ups + done.downs),
            GovernorFile::Refused => format!("{}\n", done.refused),
            GovernorFile::Looks => format!("{}\n", done.looks),
            GovernorFile::Hold => format!("{}\n", done.hold.as_micros()),
        }
    }

    /// Writes `value`.
    pub(super) fn write<M: Machine>(self, machine: &M, value: &str) -> Written<M::Error> {
        let number = value.parse::<u32>().ok();
        let done = match (self, number) {
            (GovernorFile::Governor, _) => match Governor::from_name(value) {
                Some(governor) => machine.set_governor(governor),
                None => return Written::Wrong(Errno::Invalid),
            },
            (GovernorFile::SetCpus, Some(count)) => machine.set_governed_cpus(count as usize),
            (GovernorFile::SetCpus, None) => return Written::Wrong(Errno::Invalid),
            _ => match machine.governor() {
                Ok(report) => {
                    let mut tunables = report.tunables;
                    match self.set(&mut tunables, number) {
                        Some(true) => machine.set_governor_tunables(tunables),
                        Some(false) => return Written::Wrong(Errno::Invalid),
                        None => return Written::Denied,
                    }
                }
                Err(error) => Err(error),
            },
        };
        match done {
            Ok(()) => Written::Done,
            Err(error) => Written::Refused(error),
        }
    }

    /// Sets `number` in `tunables`. Returns whether it is one; `None` for a file that may not be
    /// written.
    fn set(self, tunables: &mut Tunables, number: Option<u32>) -> Option<bool> {
        let value = number.unwrap_or(0);
        match self {
            GovernorFile::MinCpus => tunables.min_cpus = value as usize,
            GovernorFile::MaxCpus => tunables.max_cpus = value as usize,
            GovernorFile::TargetBusy => tunables.target_busy = u8::try_from(value).unwrap_or(0),
            GovernorFile::Time(time) => {
                *time.of(tunables) = Duration::from_micros(value.into());
            }
            _ => return None,
        }
        Some(number.is_some())
    }
}
