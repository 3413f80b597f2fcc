//! How often a timer's function was called and has returned: what a thread waits for that
//! takes the timer back.
//!
//! `tests/loom_timer.rs` model-checks this file.

#![forbid(unsafe_code)]

use crate::sched::Claim;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::const_unless_loom;

/// Calls that have begun, and calls that have ended. Two counts, because a timer that is
/// set on another CPU meanwhile may run on both.
#[derive(Debug)]
pub struct CallCount {
    /// Added to before the timer leaves its queue, which is a Release ([`Claim::leave`]):
    /// a look that finds the timer in none finds the call.
    begun: AtomicU32,
    /// Added to Release, loaded Acquire in `is_at_rest`: what the function did is visible
    /// to the thread that has waited for its end.
    ended: AtomicU32,
}

impl CallCount {
    const_unless_loom! {
        /// No call.
        pub const fn new() -> CallCount {
            CallCount {
                begun: AtomicU32::new(0),
                ended: AtomicU32::new(0),
            }
        }
    }

    /// The function is about to be called. Under the lock of the queue that the timer is
    /// in, before it leaves that.
    pub fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// The function has returned.
    pub fn end(&self) {
        self.ended.fetch_add(1, Ordering::Release);
    }

    /// Whether no call was under way a moment ago: a reason to look whether the timer
    /// [is at rest](CallCount::is_at_rest).
    pub fn has_ended(&self) -> bool {
        // Relaxed: the lock of the wait queue orders it.
        self.begun.load(Ordering::Relaxed) == self.ended.load(Ordering::Relaxed)
    }

    /// Whether the timer of `claim` is not set, and no call is under way.
    pub fn is_at_rest(&self, claim: &Claim) -> bool {
        // In this order: a call that ends before the first look has set the timer again
        // by then, if it does so, and one that took it out of its queue before the second
        // has been counted before the third.
        let ended = self.ended.load(Ordering::Acquire);
        claim.queue().is_none() && self.begun.load(Ordering::Relaxed) == ended
    }
}

impl Default for CallCount {
    fn default() -> Self {
        Self::new()
    }
}
