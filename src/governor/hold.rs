//! How long CPUs must have been too many before they go (`regret-doubles` of
//! [`governor`](crate::governor)).

#![forbid(unsafe_code)]

use crate::governor::Tunables;
use crate::governor::tunables::ns;

/// A CPU that is wanted back within this time was given back too early, in nanoseconds.
pub const REGRET: u64 = 100_000_000;

/// The hold, which grows while CPUs are wanted back soon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    now: u64,
    /// When CPUs have gone that have not been wanted back since.
    gone: Option<u64>,
}

impl Hold {
    pub(super) fn new(tunables: &Tunables) -> Hold {
        Hold {
            now: ns(tunables.down_delay),
            gone: None,
        }
    }

    /// Returns the hold.
    pub(super) fn get(&self) -> u64 {
        self.now
    }

    /// Keeps the hold within other settings.
    pub(super) fn set(&mut self, tunables: &Tunables) {
        let (least, most) = (ns(tunables.down_delay), ns(tunables.down_delay_max));
        self.now = self.now.clamp(least, most);
    }

    /// Notes that CPUs have gone at `at`.
    pub(super) fn went(&mut self, at: u64) {
        self.gone = Some(at);
    }

    /// Notes that CPUs are wanted at `at`.
    pub(super) fn wanted(&mut self, at: u64, tunables: &Tunables) {
        let Some(gone) = self.gone.take() else {
            return;
        };
        let away = at.saturating_sub(gone);
        if away < REGRET.max(4 * self.now) {
            self.now = (2 * self.now).min(ns(tunables.down_delay_max));
        } else if away >= 8 * self.now {
            self.now = ns(tunables.down_delay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_hold_doubles_with_each_regret_and_ends_with_a_long_absence() {
        let tunables = Tunables::new(4);
        let mut hold = Hold::new(&tunables);
        let mut at = 0;
        let mut away = |time: u64| {
            hold.went(at);
            at += time;
            hold.wanted(at, &tunables);
            hold.wanted(at, &tunables); // CPUs that come twice have gone once.
            hold.get() / MS
        };
        assert_eq!(away(99 * MS), 10);
        assert_eq!(away(99 * MS), 20);
        assert_eq!(away(99 * MS), 40);
        assert_eq!(away(159 * MS), 80);
        assert_eq!(away(400 * MS), 80);
        assert_eq!(away(640 * MS), 5);
        assert_eq!(away(100 * MS), 5);
        let last = (0..20).map(|_| away(1)).last();
        assert_eq!(last, Some(5_000));
    }
}
