//! A limit of a wait for another CPU, which counts only time in which the waiter could look.
//!
//! A virtual machine may not run for a while: its host stops it, saves it, moves it, or sleeps
//! itself. With some hosts the counter goes on meanwhile, and leaps, seen from here. A deadline
//! would be past then, although no CPU has had any time. So the waiter looks at the clock ten times
//! within its limit, and what lies between two looks counts as one part of ten at most, however
//! long it was.
//!
//! ```text
//!   looks   |----|----|--------------- leap ---------------|----|----|----|----|----|----|----|
//!   parts     1    2                    3                    4    5    6    7    8    9    10
//! ```
//!
//! A look that comes up to a part late counts as what it was: a busy host is no leap.

use crate::time::Instant;

/// How many looks there are in a limit.
const LOOKS: u64 = 10;

/// The limit of one wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitLimit {
    until: Instant,
    /// When the waiter must look again.
    next: Instant,
    /// The time from look to look, in ticks.
    part: u64,
}

impl WaitLimit {
    /// Returns the limit of a wait that begins `now` and may take `ticks`.
    #[inline]
    pub const fn new(now: Instant, ticks: u64) -> WaitLimit {
        WaitLimit {
            until: now.after_ticks(ticks),
            next: Instant(0),
            part: ticks.div_ceil(LOOKS),
        }
        .looked(now)
    }

    /// Returns the limit of a wait that begins `now` and may last until `until`.
    #[inline]
    pub const fn until(now: Instant, until: Instant) -> WaitLimit {
        WaitLimit {
            until,
            next: Instant(0),
            part: until.ticks_since(now).div_ceil(LOOKS),
        }
        .looked(now)
    }

    /// Returns this limit, in which the waiter looks no more often than each `ticks`: it sleeps, and
    /// nothing wakes it before. A leap counts as so much then, or as all of a shorter limit.
    #[inline]
    #[must_use]
    pub const fn looked_at_each(mut self, now: Instant, ticks: u64) -> WaitLimit {
        if self.part < ticks {
            self.part = ticks;
        }
        self.looked(now)
    }

    /// Returns the same limit for a wait that begins `now` and may take `ticks`, as the first might.
    #[inline]
    #[must_use]
    pub const fn again(self, now: Instant, ticks: u64) -> WaitLimit {
        WaitLimit {
            until: now.after_ticks(ticks),
            ..self
        }
        .looked(now)
    }

    #[inline]
    const fn looked(mut self, now: Instant) -> WaitLimit {
        self.next = now.after_ticks(self.part);
        self
    }

    /// Returns when the waiter must look again: until then it may sleep.
    #[inline]
    pub const fn next_look(&self) -> Instant {
        if self.next.0 < self.until.0 {
            self.next
        } else {
            self.until
        }
    }

    /// Returns when the limit is over, as far as is known.
    #[inline]
    pub const fn end(&self) -> Instant {
        self.until
    }

    /// Looks at the clock, which says `now`; returns whether the limit is over. A waiter may look
    /// more often than it must.
    #[inline]
    pub const fn is_over(&mut self, now: Instant) -> bool {
        let Instant(next) = self.next_look();
        now.0 >= next && self.look(now)
    }

    #[cold]
    const fn look(&mut self, now: Instant) -> bool {
        let late = now.ticks_since(self.next_look());
        if late > self.part {
            self.until = self.until.after_ticks(late);
        }
        self.next = now.after_ticks(self.part);
        now.0 >= self.until.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns when a wait with `limit` is over whose waiter sleeps as long as it may, if the
    /// clock leaps by `leap` in the sleep number `at`.
    fn over(mut limit: WaitLimit, at: u32, leap: u64) -> (u64, u32) {
        for sleeps in 1..1000 {
            let Instant(mut now) = limit.next_look();
            if sleeps == at {
                now += leap;
            }
            if limit.is_over(Instant(now)) {
                return (now, sleeps);
            }
        }
        panic!("it is never over");
    }

    #[test]
    fn a_limit_lasts_as_long_as_it_says() {
        for ticks in [1000, 1009, 10, 9, 1] {
            let limit = WaitLimit::new(Instant(500), ticks);
            assert_eq!(over(limit, 0, 0).0, 500 + ticks, "{ticks}");
        }
        assert_eq!(over(WaitLimit::new(Instant(500), 1000), 0, 0).1, 10);
        assert!(WaitLimit::new(Instant(500), 0).is_over(Instant(500)));
        assert!(WaitLimit::until(Instant(500), Instant(400)).is_over(Instant(500)));
    }

    #[test]
    fn a_leap_counts_as_one_part() {
        for leap in [201, 1000, 1 << 40] {
            for at in 1..=10 {
                let (now, sleeps) = over(WaitLimit::new(Instant(500), 1000), at, leap);
                let left = now - 500 - leap;
                assert!((900..=1100).contains(&left), "{leap} at {at}: {left}");
                assert!((10..=11).contains(&sleeps));
            }
        }
    }

    #[test]
    fn a_look_that_comes_as_seldom_as_it_may_is_no_leap() {
        let mut limit = WaitLimit::new(Instant(0), 1000).looked_at_each(Instant(0), 700);
        assert_eq!(limit.next_look(), Instant(700));
        assert!(!limit.is_over(Instant(700)));
        assert!(limit.is_over(Instant(1400)));
        let mut short = WaitLimit::new(Instant(0), 100).looked_at_each(Instant(0), 700);
        assert_eq!(short.next_look(), Instant(100));
        assert!(short.is_over(Instant(700)));
    }

    #[test]
    fn a_late_look_is_no_leap() {
        let mut limit = WaitLimit::new(Instant(0), 1000);
        for now in [200, 400, 600, 800] {
            assert!(!limit.is_over(Instant(now)));
        }
        assert!(limit.is_over(Instant(1000)));
    }

    #[test]
    fn a_waiter_that_never_runs_in_time_comes_to_an_end() {
        let mut limit = WaitLimit::new(Instant(0), 1000);
        let looks = (1..100).position(|look| limit.is_over(Instant(look * 5000)));
        assert_eq!(looks, Some(9));
    }

    #[test]
    fn what_has_no_limit_is_never_over() {
        let mut limit = WaitLimit::until(Instant(7), Instant::FOREVER);
        assert!(!limit.is_over(Instant(u64::MAX - 1)));
        assert_eq!(limit.end(), Instant::FOREVER);
    }
}
