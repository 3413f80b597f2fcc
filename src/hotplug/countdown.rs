//! The counter that the CPUs of a batch count down, each when it has walked its steps: control
//! is woken once, not once for each CPU.
//!
//! ```text
//!   control                          CPUs, in any order
//!   ───────                          ──────────────────
//!   begin()                    1
//!   add(), post to a CPU       2 ──► walks, count()
//!   add(), post to the next    … ──► walks, count()
//!   count()                          the one that counts last completes the batch
//! ```
//!
//! # Invariants
//! - **counted-once**: control and each CPU of the batch count once, so exactly one of them is
//!   the last.
//! - **control-counts-last**: control counts when it has added all CPUs. Until then the counter
//!   doesn't reach zero, so CPUs may come to the end while others are still to be added.
//! - **last-sees-all**: whichever is the last, and control after it, sees all that each CPU did
//!   before it counted.
//!
//! # Memory ordering
//! A count is AcqRel. Its Release pairs with the Acquire of every later count: those continue
//! its release sequence, as read-modify-writes of one word; so does `add`. A last CPU wakes
//! control through a lock, which carries on what it has seen. `begin` and `add` are Relaxed:
//! they come before control's own count in one thread, and before that of a CPU by what control
//! posts to it.
//!
//! `tests/loom_countdown.rs` model-checks this file.

use crate::sync::atomic::{AtomicU32, Ordering};

/// How many have not counted yet: CPUs of a batch, and control.
#[derive(Debug)]
pub struct Countdown(AtomicU32);

impl Countdown {
    /// Returns a counter with no batch under way.
    pub fn new() -> Countdown {
        Countdown(AtomicU32::new(0))
    }

    /// Begins a batch, without a CPU yet.
    ///
    /// # Context
    /// Control, which counts when it has added all CPUs (control-counts-last).
    ///
    /// # Panics
    /// If a batch is under way.
    pub fn begin(&self) {
        // Relaxed: what control posts to the CPUs orders it.
        let left = self.0.swap(1, Ordering::Relaxed);
        assert!(left == 0, "BUG: {left} CPUs still walk for another batch");
    }

    /// Adds a CPU to the batch.
    ///
    /// # Context
    /// Control, before it posts to that CPU.
    ///
    /// # Panics
    /// If no batch is under way.
    pub fn add(&self) {
        // Relaxed: as in `begin`.
        let left = self.0.fetch_add(1, Ordering::Relaxed);
        assert!(left > 0, "BUG: a CPU is added to no batch");
    }

    /// Counts the calling CPU, or control; returns whether it is the last (counted-once).
    ///
    /// # Panics
    /// If more count than were added.
    pub fn count(&self) -> bool {
        let left = self.0.fetch_sub(1, Ordering::AcqRel);
        assert!(left > 0, "BUG: a CPU counts for no batch");
        left == 1
    }
}

impl Default for Countdown {
    fn default() -> Self {
        Self::new()
    }
}
