//! What an operator may set.

#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;

use crate::governor::SATURATED;

/// How the governor works. Linux's cpufreq has settings of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunables {
    /// The floor: so many CPUs stay online. 1 at least.
    pub min_cpus: usize,
    /// The ceiling: no more CPUs are brought up. Not below the floor.
    pub max_cpus: usize,
    /// For how long threads wait for a CPU, altogether, before CPUs come.
    pub up_wait: Duration,
    /// For how long CPUs must have been too many before they go.
    pub down_delay: Duration,
    /// How long that time becomes at most, where CPUs are wanted back time and again.
    pub down_delay_max: Duration,
    /// For how many percent of the time CPUs are to be busy at most, when others have gone.
    pub target_busy: u8,
    /// How often the load is measured while there is any, or CPUs are above the floor.
    pub sampling_rate: Duration,
    /// How long a change is the last one at least.
    pub rate_limit: Duration,
}

impl Tunables {
    /// The settings of a machine of `cpus` CPUs, if nothing else is chosen.
    pub const fn new(cpus: usize) -> Tunables {
        Tunables {
            min_cpus: 1,
            max_cpus: cpus,
            up_wait: Duration::from_millis(1),
            down_delay: Duration::from_millis(5),
            down_delay_max: Duration::from_secs(5),
            target_busy: 75,
            sampling_rate: Duration::from_millis(1),
            rate_limit: Duration::from_millis(1),
        }
    }

    /// Checks the settings for a machine of `cpus` CPUs.
    ///
    /// # Errors
    /// [`TunablesError`]: the first that is out of its range.
    pub fn check(&self, cpus: usize) -> Result<(), TunablesError> {
        let times = [
            self.up_wait,
            self.down_delay,
            self.sampling_rate,
            self.down_delay_max,
        ];
        let in_range = |time: &Duration| (SHORTEST..=LONGEST).contains(time);
        if self.min_cpus == 0 || self.min_cpus > cpus {
            Err(TunablesError::Floor)
        } else if self.max_cpus < self.min_cpus || self.max_cpus > cpus {
            Err(TunablesError::Ceiling)
        } else if !(LEAST_BUSY..=MOST_BUSY).contains(&self.target_busy) {
            Err(TunablesError::TargetBusy)
        } else if !times.iter().all(in_range)
            || self.rate_limit > LONGEST
            || self.down_delay_max < self.down_delay
        {
            Err(TunablesError::Time)
        } else {
            Ok(())
        }
    }
}

/// The shortest time that may be set.
const SHORTEST: Duration = Duration::from_micros(100);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);
/// The lowest `target_busy`.
const LEAST_BUSY: u8 = 10;
/// The highest: less than what saturates CPUs (`dead-band` of [`governor`](crate::governor)).
const MOST_BUSY: u8 = 90;
const _: () = assert!((MOST_BUSY as u64) < SATURATED);

/// Which setting is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunablesError {
    /// The floor is 0, or above the number of CPUs.
    Floor,
    /// The ceiling is below the floor, or above the number of CPUs.
    Ceiling,
    /// `target_busy` is not from 10 to 90.
    TargetBusy,
    /// A time is shorter than 100 us (`rate_limit` may be) or longer than 60 s, or
    /// `down_delay_max` is shorter than `down_delay`.
    Time,
}

impl fmt::Display for TunablesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TunablesError::Floor => "the floor is not from 1 to the number of CPUs",
            TunablesError::Ceiling => "the ceiling is not from the floor to the number of CPUs",
            TunablesError::TargetBusy => "the target is not from 10 to 90 percent",
            TunablesError::Time => "a time is not from 100 us to 60 s, or below another one",
        })
    }
}

impl core::error::Error for TunablesError {}

/// Returns `time` in nanoseconds. What [`Tunables::check`] lets pass has room.
pub(super) fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 16)
}
