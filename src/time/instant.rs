//! Instants of the system counter, and the arithmetic between ticks and time.

use core::time::Duration;

/// An instant, in ticks of the generic timer's virtual counter since it started (Arm
/// ARM, CNTVCT_EL0). Instants of different CPUs can be compared: there is one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The last instant: a wait until then has no limit.
    pub const FOREVER: Instant = Instant(u64::MAX);

    /// Returns the ticks from `earlier` to this instant, or 0 if `earlier` is later.
    pub const fn ticks_since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the instant `ticks` later, at most [`Instant::FOREVER`].
    pub const fn after_ticks(self, ticks: u64) -> Instant {
        Instant(self.0.saturating_add(ticks))
    }
}

/// How many ticks the counter makes in a second; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency(core::num::NonZeroU64);

impl Frequency {
    /// Returns the frequency `hz`, or `None` for 0, which firmware writes by mistake.
    pub const fn new(hz: u64) -> Option<Frequency> {
        match core::num::NonZeroU64::new(hz) {
            Some(hz) => Some(Frequency(hz)),
            None => None,
        }
    }

    /// Returns the number of ticks in a second.
    pub const fn hz(self) -> u64 {
        self.0.get()
    }

    /// Returns `ticks` in nanoseconds, rounded down; saturates.
    pub fn ticks_to_ns(self, ticks: u64) -> u64 {
        let ns = u128::from(ticks) * 1_000_000_000 / u128::from(self.hz());
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// Returns `time` in ticks, rounded up; saturates.
    pub fn duration_to_ticks(self, time: Duration) -> u64 {
        // Seconds and nanoseconds apart, because a division of 128 bits is expensive. The
        // nanoseconds' product saturates above 18 GHz; the counter of Armv8.6 has 1 GHz.
        let parts = u64::from(time.subsec_nanos()).saturating_mul(self.hz());
        time.as_secs()
            .saturating_mul(self.hz())
            .saturating_add(parts.div_ceil(1_000_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_round_so_that_a_wait_is_never_short() {
        let pi = Frequency::new(54_000_000).unwrap();
        assert_eq!(pi.ticks_to_ns(54), 1_000);
        assert_eq!(pi.duration_to_ticks(Duration::from_nanos(1)), 1);
        assert_eq!(pi.duration_to_ticks(Duration::from_secs(1)), 54_000_000);
        assert_eq!(pi.duration_to_ticks(Duration::MAX), u64::MAX);
        assert_eq!(pi.ticks_to_ns(u64::MAX), u64::MAX);
        assert_eq!(Frequency::new(0), None);
    }
}
