//! How many calls of a timer's function have begun and how many have returned. A thread
//! that cancels the timer waits until the two are equal.
//!
//! `tests/loom_timer.rs` model-checks this file.

#![forbid(unsafe_code)]

use crate::sched::Claim;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::const_unless_loom;

/// Counts of the calls that have begun and of those that have ended. Two counts,
/// because a timer that is set on another CPU meanwhile may run on both.
#[derive(Debug)]
pub struct CallCount {
    /// Calls that have begun. Incremented before the timer leaves its queue, which is a
    /// Release ([`Claim::leave`]): a reader that finds the timer in no queue sees the
    /// call.
    begun: AtomicU32,
    /// Calls that have ended. Incremented Release, loaded Acquire in `is_at_rest`: what
    /// the function did is visible to the thread that has waited for its end.
    ended: AtomicU32,
}

impl CallCount {
    const_unless_loom! {
        /// Returns counts of no call.
        pub const fn new() -> CallCount {
            CallCount {
                begun: AtomicU32::new(0),
                ended: AtomicU32::new(0),
            }
        }
    }

    /// Counts a call that is about to begin.
    ///
    /// # Context
    /// Under the lock of the queue that the timer is in, before it leaves that queue.
    pub fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that has returned.
    pub fn end(&self) {
        self.ended.fetch_add(1, Ordering::Release);
    }

    /// Returns whether no call was under way a moment ago. If so, the caller checks
    /// whether the timer [is at rest](CallCount::is_at_rest).
    pub fn has_ended(&self) -> bool {
        // Relaxed: the lock of the wait queue orders it.
        self.begun.load(Ordering::Relaxed) == self.ended.load(Ordering::Relaxed)
    }

    /// Returns whether the timer of `claim` is not set and no call is under way.
    pub fn is_at_rest(&self, claim: &Claim) -> bool {
        // The order of the three loads matters. A call that has ended by the first load
        // has set the timer again by then, if it does so at all. A call that took the
        // timer out of its queue before the second load has been counted before the
        // third.
        let ended = self.ended.load(Ordering::Acquire);
        claim.queue().is_none() && self.begun.load(Ordering::Relaxed) == ended
    }
}

impl Default for CallCount {
    fn default() -> Self {
        Self::new()
    }
}
