//! What the service asks of the machine that it runs on.

use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;
use core::time::Duration;

use stillpoint::api::cpu::{CpuId, CpuMask};

/// The machine. Times are since it was booted.
pub trait Machine: Send + Sync {
    /// Returns what time it is.
    fn now(&self) -> Duration;

    /// Returns the seconds since 1970, if the machine has a clock that tells.
    fn unix_time(&self) -> Option<u64>;

    /// Returns a future that is ready at `at`.
    fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> + Send;

    /// Computes for `time` of CPU time, and lets other connections have their turn meanwhile.
    fn work(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Returns the CPUs that could be online.
    fn possible(&self) -> CpuMask;

    /// Returns the CPUs that are online.
    fn online(&self) -> CpuMask;

    /// Brings CPUs up and takes others down until `wanted` are online.
    fn set_online(&self, wanted: &CpuMask) -> Change;

    /// Returns for how long each possible CPU has been at work, in their order.
    fn cpu_times(&self, into: &mut Vec<CpuTimes>);

    /// Returns the last walks, the oldest first.
    fn walks(&self, into: &mut Vec<Walk>);

    /// Returns the governor, if the machine has one.
    fn governor(&self) -> Option<Governor>;

    /// Sets the governor.
    ///
    /// # Errors
    /// The name of an errno: `EINVAL` for a name that no governor has, `ENOSYS` without governors.
    fn set_governor(&self, name: &str) -> Result<(), &'static str>;

    /// Returns whether the service ends: each connection is closed after its next answer.
    fn is_ending(&self) -> bool;
}

/// How a change of the CPUs ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The CPUs that are not as they were to be. All others are.
    pub stays: Vec<Stays>,
}

/// A CPU that is not as it was to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stays {
    /// The CPU.
    pub cpu: CpuId,
    /// The name of an errno, such as `EBUSY`.
    pub errno: &'static str,
    /// Why, in words.
    pub why: String,
}

/// For how long a CPU has been at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTimes {
    /// The CPU.
    pub cpu: CpuId,
    /// The time for which threads had it.
    pub busy: Duration,
}

/// A way of a CPU up or down that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// `up` or `down`, and whether it has failed.
    pub what: &'static str,
    /// The CPU.
    pub cpu: CpuId,
    /// When it was over.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// For how long it stopped the machine, if it did.
    pub stopped: Option<Duration>,
}

/// The governor of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Governor {
    /// Its name.
    pub name: &'static str,
    /// The names of all, with a space between.
    pub available: &'static str,
}
