//! What a CPU tells the other CPUs of its run queue.

#![forbid(unsafe_code)]

use crate::sched::class::{LEVELS, NORMAL_LEVEL};
use crate::sched::{RunQueue, SchedHost};

/// What a CPU reports to the others, for those that look for work or for a CPU: one word,
/// so that it is compared at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report(u64);

/// Marks the report of a CPU that holds realtime threads back. No level has this bit.
const HOLDS: u64 = 0x80 << 8;

/// Marks the report of a CPU whose running thread has made room for a stopper. No level has
/// this bit.
const STOPPED: u64 = 0x80;

impl Report {
    /// The report of a CPU that has nothing to do.
    pub(crate) const NOTHING: Report = Report::new(0, NORMAL_LEVEL, NORMAL_LEVEL);

    const fn new(waiting: usize, level: usize, waiting_level: usize) -> Report {
        let level = if level < NORMAL_LEVEL {
            level
        } else {
            NORMAL_LEVEL
        };
        Report((waiting as u64) << 16 | (level as u64) << 8 | waiting_level as u64)
    }

    /// Returns the same report as one that is never known for certain: of a CPU that holds
    /// realtime threads back.
    pub(crate) const fn of_holding(self) -> Report {
        Report(self.0 | HOLDS)
    }

    /// Returns the same report as one that must be looked at again when the stopper, which
    /// has taken the CPU from a movable thread, leaves it.
    pub(crate) const fn of_stopped(self) -> Report {
        Report(self.0 | STOPPED)
    }

    /// Returns whether a stopper has taken the CPU since the report was made.
    pub(crate) const fn is_of_stopped(self) -> bool {
        self.0 & STOPPED != 0
    }

    /// Returns the number of movable threads that wait here.
    pub(crate) const fn waiting(self) -> u64 {
        self.0 >> 16
    }

    /// Returns the most urgent level that runs or is queued here; for an idle CPU the one
    /// that it had before.
    pub(crate) const fn level(self) -> usize {
        (self.0 >> 8 & 0x7f) as usize
    }

    /// Returns the most urgent realtime level at which a movable thread waits here;
    /// [`NORMAL_LEVEL`]: none.
    pub(crate) const fn waiting_level(self) -> usize {
        (self.0 & 0x7f) as usize
    }
}

impl<P: SchedHost> RunQueue<P> {
    /// Returns whether the other CPUs certainly know all that [`RunQueue::report`] would
    /// tell them: the cheap cases.
    #[inline]
    pub(crate) fn is_known(&self) -> bool {
        if self.runs_idle() {
            let level = self.ready.most_urgent_level().unwrap_or(LEVELS);
            return self.reported == Report::new(0, self.reported_level(level), NORMAL_LEVEL);
        }
        let level = self.current_level();
        if level == 0 || self.ready.has(0) {
            return true; // What `report` says of a stopper.
        }
        let known = Report::new(self.ready.movable(), level, NORMAL_LEVEL);
        self.reported == known
            && (self.ready.is_empty() || (level == NORMAL_LEVEL && self.ready.has_no_realtime()))
    }

    /// Returns what the other CPUs should know. While a stopper runs or is about to, that
    /// is what they know already: a stopper runs only briefly.
    ///
    /// An idle CPU keeps the level that it had: `idle` of [`CpuMap`](crate::sched::CpuMap)
    /// says more. So a realtime thread that sleeps and wakes there changes nothing.
    ///
    /// Threads that are queued on an idle CPU don't wait: that CPU is about to run them.
    /// A realtime thread that is about to preempt the running one doesn't wait either.
    #[inline]
    pub(crate) fn report(&self) -> Report {
        let level = self.most_urgent();
        if level == 0 {
            return self.reported;
        }
        let waiting = if self.runs_idle() {
            0
        } else {
            self.ready.movable()
        };
        let waiting_level = if self.should_preempt() {
            self.reported.waiting_level()
        } else {
            self.ready.first_movable_realtime().unwrap_or(NORMAL_LEVEL)
        };
        let report = Report::new(waiting, self.reported_level(level), waiting_level);
        if self.ready.holds_realtime() {
            report.of_holding()
        } else {
            report
        }
    }

    /// Returns the level to report of a CPU whose most urgent thread has `level`.
    #[inline]
    fn reported_level(&self, level: usize) -> usize {
        if level == LEVELS {
            self.reported.level()
        } else {
            level
        }
    }
}
