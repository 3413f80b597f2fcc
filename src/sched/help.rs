//! When a CPU looks for another one for a thread that waits behind a more urgent one.
//!
//! Threads of one level take turns, and a CPU looks around at the end of each. A thread that
//! waits behind a more urgent one has no turn to wait for. So its CPU looks when such threads
//! have waited for a slice: at once, or in parts of which each is shorter, because what runs
//! before them sleeps time and again.
//!
//! ```text
//!   realtime      ████████        ████████        ████████        ████
//!   ordinary  ████        ████████        ████████        ████████
//!                 ├ 3 ms ─┤       ├1┤ a slice of 4 ms is over: a look
//! ```
//! The interrupt comes while the more urgent thread runs, and so rarely: its wake-ups are not
//! delayed by a look.

#![forbid(unsafe_code)]

use crate::time::Instant;

/// For how long threads of one CPU have waited behind more urgent ones since its last look.
#[derive(Debug)]
pub(crate) struct Help {
    /// When the slice is over, if a thread waits.
    due: Option<Instant>,
    /// The rest of the slice, in ticks; 0: a whole one.
    left: u64,
}

impl Help {
    pub(crate) const fn new() -> Help {
        Help { due: None, left: 0 }
    }

    /// Returns when the slice is over, if a thread waits.
    #[inline]
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Notes that a thread waits from `now` on, for a slice of `slice` ticks or what is left
    /// of it. Returns when that is over.
    pub(crate) fn begin(&mut self, now: Instant, slice: u64) -> Instant {
        let left = if self.left == 0 { slice } else { self.left };
        let due = now.after_ticks(left);
        self.due = Some(due);
        due
    }

    /// Notes that the running thread leaves the CPU at `now`.
    pub(crate) fn pause(&mut self, now: Instant) {
        if let Some(due) = self.due.take() {
            self.left = due.ticks_since(now).max(1);
        }
    }

    /// Ends the slice if it is over at `now`. Returns whether it is.
    pub(crate) fn end(&mut self, now: Instant) -> bool {
        let over = self.due.is_some_and(|due| now >= due);
        if over {
            self.due = None;
            self.left = 0;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: u64 = 400;

    fn at(ticks: u64) -> Instant {
        Instant(ticks)
    }

    #[test]
    fn parts_of_a_slice_add_up() {
        let mut it = Help::new();
        assert_eq!(it.begin(at(0), SLICE), at(400));
        it.pause(at(300));
        assert_eq!(it.due(), None);
        assert_eq!(it.begin(at(500), SLICE), at(600));
        assert!(!it.end(at(599)) && it.end(at(600)));
        assert!(!it.end(at(600)));
        assert_eq!(it.begin(at(600), SLICE), at(1000));
    }

    #[test]
    fn a_slice_that_is_over_already_is_looked_at_next() {
        let mut it = Help::new();
        let _ = it.begin(at(0), SLICE);
        it.pause(at(500));
        assert_eq!(it.begin(at(900), SLICE), at(901));
    }
}
