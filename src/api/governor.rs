//! The governor: what decides how many CPUs are online.
//!
//! | Governor | How many CPUs are online |
//! |---|---|
//! | [`Governor::Performance`] | as many as the ceiling lets |
//! | [`Governor::Ondemand`] | as many as the load needs: CPUs come within milliseconds when threads wait for one, and go when they are idle |
//! | [`Governor::Userspace`] | what [`set_cpus`] has asked for; it is the one at first, and does nothing then |
//!
//! Whatever the governor, it brings up only CPUs that it has taken down itself: [`given_back`] are
//! those. A CPU that [`cpu_down`](crate::api::hotplug::cpu_down) has taken down stays down until
//! [`cpu_up`](crate::api::hotplug::cpu_up), and so does one that the boot argument `maxcpus=` has
//! left off. One that was brought up by hand is the governor's to take down, as all others are.
//!
//! The governor is also chosen by the boot argument `governor=`, and in
//! `/sys/devices/system/cpu/governor` of the shell. `docs/governor.md` explains it.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/governor.rs")]
//! ```

use crate::cpu::CpuMask;
use crate::kernel::entry::enter;
use crate::kernel::{governor as of_kernel, kernel};

pub use crate::governor::{Governor, Statistics, Tunables, TunablesError};
pub use crate::kernel::governor::GovernorError;

/// Returns which governor there is.
///
/// # Context
/// As [`set_governor`]; waits while the governor has CPUs come or go.
///
/// # Errors
/// [`GovernorError::WouldDeadlock`].
pub fn governor() -> Result<Governor, GovernorError> {
    let _in_kernel = enter();
    of_kernel::governor()
}

/// Chooses a governor. With [`Governor::Performance`] the CPUs have come on return; with
/// [`Governor::Ondemand`] CPUs come and go from then on, and with [`Governor::Userspace`] they stay
/// as they are.
///
/// # Context
/// Thread, preemption on, not pinned; not in a callback of hotplug, and not under
/// [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock). Stops the machine where
/// [`Governor::Ondemand`] begins or ends.
///
/// # Errors
/// [`GovernorError`]. With [`GovernorError::Up`] and [`GovernorError::Down`] the governor is chosen
/// all the same; else nothing has changed.
pub fn set_governor(governor: Governor) -> Result<(), GovernorError> {
    let _in_kernel = enter();
    of_kernel::choose(governor)
}

/// Returns the settings.
///
/// # Context
/// As [`governor()`].
///
/// # Errors
/// [`GovernorError::WouldDeadlock`].
pub fn tunables() -> Result<Tunables, GovernorError> {
    let _in_kernel = enter();
    of_kernel::tunables()
}

/// Changes the settings. CPUs come and go as floor and ceiling say, before the return unless it is
/// [`Governor::Ondemand`], whose thread does that.
///
/// # Context
/// As [`set_governor`].
///
/// # Errors
/// [`GovernorError::Tunables`] if a setting is out of its range; nothing has changed then. Others as
/// [`set_governor`].
pub fn set_tunables(tunables: Tunables) -> Result<(), GovernorError> {
    let _in_kernel = enter();
    of_kernel::set_tunables(tunables)
}

/// Has `count` CPUs online from now on, with [`Governor::Userspace`]: those with the lowest numbers
/// stay, or come.
///
/// # Context
/// As [`set_governor`].
///
/// # Errors
/// [`GovernorError::NotUserspace`] and [`GovernorError::NoSuchCount`], EINVAL: nothing has changed.
/// [`GovernorError::Short`], EBUSY, if the governor may not bring up so many. Others as
/// [`set_governor`].
pub fn set_cpus(count: usize) -> Result<(), GovernorError> {
    let _in_kernel = enter();
    of_kernel::set_cpus(count)
}

/// Returns the CPUs that the governor has taken down and may bring back.
///
/// # Context
/// Any. Racy, unless the caller holds
/// [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock).
pub fn given_back() -> CpuMask {
    let _in_kernel = enter();
    kernel().hotplug.governed()
}

/// Returns what the governor has done since the boot.
///
/// # Context
/// As [`governor()`].
///
/// # Errors
/// [`GovernorError::WouldDeadlock`].
pub fn statistics() -> Result<Statistics, GovernorError> {
    let _in_kernel = enter();
    of_kernel::statistics()
}
