//! How much of one CPU its realtime threads may take from the ordinary threads that wait
//! for it.
//!
//! ```text
//!            an ordinary thread waits         realtime threads have had `runtime`
//!            behind a realtime one            and an ordinary thread still waits
//!   Unused ─────────────────────────► Counts ───────────────────────────────────► Spent
//!      ▲                                 │                                          │
//!      └─────────────────────────────────┴───────────── the period is over ─────────┘
//! ```
//! While the bound is spent, ordinary threads go before realtime threads on this CPU. If
//! no ordinary thread wants the CPU, realtime threads have it all the same: nothing is
//! gained by a CPU that idles. So it is with Linux's fair server (since 6.12); Linux's older
//! throttling left such a CPU idle.
//!
//! # Invariants
//! - **ordinary-get-the-rest**: in a period, which begins when an ordinary thread waits
//!   behind a realtime one, realtime threads have the CPU for `runtime` at most, as long as
//!   an ordinary thread wants it.
//! - **kernel-goes-first**: stoppers and the kernel's own threads are never held back, and
//!   what they use isn't counted.
//! - **looks-while-contested**: a look is due only while an ordinary thread waits behind a
//!   realtime one, and at the end of a period in which the bound was spent.

#![forbid(unsafe_code)]

use crate::sched::class::{KERNEL_LEVEL, NORMAL_LEVEL};
use crate::time::Instant;

/// What realtime threads may take of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// The length of a period, in ticks.
    pub(crate) period: u64,
    /// For how many ticks of a period they may have the CPU; `None`: without a bound.
    pub(crate) runtime: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No period has begun.
    Unused,
    /// Realtime threads may run for `left` ticks more before `end`.
    Counts { end: Instant, left: u64 },
    /// They have had all that they may have before `end`.
    Spent { end: Instant },
}

/// What realtime threads have had of one CPU.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    state: State,
    /// When [`Bandwidth::look`] is due.
    due: Option<Instant>,
}

impl Bandwidth {
    pub(crate) const fn new() -> Bandwidth {
        Bandwidth {
            state: State::Unused,
            due: None,
        }
    }

    /// Returns whether the bound holds for threads that queue at `level`
    /// (kernel-goes-first).
    #[inline]
    pub(crate) const fn is_for(level: usize) -> bool {
        KERNEL_LEVEL < level && level < NORMAL_LEVEL
    }

    /// Returns whether time counts: a period has begun, and something is left.
    #[inline]
    pub(crate) fn counts(&self) -> bool {
        matches!(self.state, State::Counts { .. })
    }

    /// Counts that a thread of `level` has had the CPU for `ticks`.
    #[inline]
    pub(crate) fn charge(&mut self, level: usize, ticks: u64) {
        if let State::Counts { left, .. } = &mut self.state
            && Self::is_for(level)
        {
            *left = left.saturating_sub(ticks);
        }
    }

    /// Returns whether realtime threads have had all that they may have.
    pub(crate) fn is_spent(&self) -> bool {
        matches!(self.state, State::Spent { .. })
    }

    /// Returns when a look is due, if one is.
    #[inline]
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Notes that from `now` on an ordinary thread waits behind a realtime one that runs.
    /// Returns when a look is due; that may be now, and never is without a bound.
    pub(crate) fn begin(&mut self, now: Instant, limit: Limit) -> Option<Instant> {
        self.end_period(now);
        if let (State::Unused, Some(left)) = (self.state, limit.runtime) {
            let end = now.after_ticks(limit.period);
            self.state = State::Counts { end, left };
        }
        self.due = match self.state {
            State::Unused => None,
            State::Counts { end, left } => Some(now.after_ticks(left).min(end)),
            State::Spent { end } => Some(end),
        };
        self.due
    }

    /// Looks at what is left at `now`, when that is due. `contested` says whether an
    /// ordinary thread waits behind a realtime one that runs, which has been charged up to
    /// now. Returns when the next look is due.
    pub(crate) fn look(&mut self, now: Instant, contested: bool, limit: Limit) -> Option<Instant> {
        self.end_period(now);
        if let State::Counts { end, left: 0 } = self.state
            && contested
        {
            self.state = State::Spent { end }; // (ordinary-get-the-rest)
        }
        if contested || self.is_spent() {
            return self.begin(now, limit);
        }
        self.due = None; // (looks-while-contested)
        None
    }

    fn end_period(&mut self, now: Instant) {
        if let State::Counts { end, .. } | State::Spent { end } = self.state
            && now >= end
        {
            self.state = State::Unused;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::{Class, Priority};

    const LIMIT: Limit = Limit {
        period: 1000,
        runtime: Some(950),
    };

    const RT: usize = NORMAL_LEVEL - 1;

    fn at(ticks: u64) -> Instant {
        Instant(ticks)
    }

    #[test]
    fn it_is_spent_when_realtime_threads_have_had_their_part() {
        let mut it = Bandwidth::new();
        assert_eq!(it.begin(at(5_000), LIMIT), Some(at(5_950)));
        it.charge(RT, 900);
        it.charge(KERNEL_LEVEL, 50);
        assert_eq!(it.look(at(5_950), true, LIMIT), Some(at(6_000)));
        assert!(!it.is_spent());
        it.charge(RT, 50);
        assert_eq!(it.look(at(5_999), true, LIMIT), Some(at(6_000)));
        assert!(it.is_spent());
        assert_eq!(it.look(at(6_000), false, LIMIT), None);
        assert!(!it.is_spent() && it.due().is_none());
    }

    #[test]
    fn what_is_not_contested_is_not_spent() {
        let mut it = Bandwidth::new();
        it.charge(RT, 5_000);
        assert_eq!(it.begin(at(6_000), LIMIT), Some(at(6_950)));
        it.charge(RT, 960);
        assert_eq!(it.look(at(6_960), false, LIMIT), None);
        assert!(!it.is_spent());
        assert_eq!(it.begin(at(6_970), LIMIT), Some(at(6_970)), "now");
        assert_eq!(it.look(at(6_970), true, LIMIT), Some(at(7_000)));
        assert!(it.is_spent());
    }

    #[test]
    fn a_new_period_begins_when_one_is_over() {
        let mut it = Bandwidth::new();
        assert_eq!(it.begin(at(0), LIMIT), Some(at(950)));
        it.charge(RT, 100);
        assert_eq!(it.begin(at(2_500), LIMIT), Some(at(3_450)));
        it.charge(RT, 500);
        assert_eq!(it.look(at(3_500), true, LIMIT), Some(at(4_450)));
    }

    #[test]
    fn without_a_bound_nothing_is_due() {
        let free = Limit {
            runtime: None,
            ..LIMIT
        };
        let mut it = Bandwidth::new();
        assert_eq!(it.begin(at(0), free), None);
        it.begin(at(0), LIMIT);
        it.charge(RT, 950);
        assert_eq!(it.look(at(950), true, LIMIT), Some(at(1_000)));
        assert_eq!(it.look(at(1_000), true, free), None);
        assert!(!it.is_spent());
    }

    #[test]
    fn the_kernels_own_threads_are_not_bound() {
        let realtime = |priority| Class::fifo(Priority::new(priority).expect("1 to 99"));
        let is_for = |class: Class| Bandwidth::is_for(class.level());
        assert!(is_for(realtime(1)) && is_for(realtime(99)));
        assert!(!is_for(Class::Stop) && !is_for(Class::KERNEL));
        assert!(!is_for(Class::Normal) && !is_for(Class::Idle));
    }
}
