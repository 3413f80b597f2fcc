//! What the governor has done.

#![forbid(unsafe_code)]

use core::time::Duration;

/// What the governor has done since the boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// How often it had CPUs come.
    pub ups: u64,
    /// How often it had CPUs go.
    pub downs: u64,
    /// How many CPUs have come.
    pub come: u64,
    /// How many have gone.
    pub gone: u64,
    /// How often a CPU that was to come or to go has not.
    pub refused: u64,
    /// How often it has measured the load.
    pub looks: u64,
    /// For how long CPUs must have been too many now before they go; 0 unless it is `ondemand`.
    pub hold: Duration,
}
