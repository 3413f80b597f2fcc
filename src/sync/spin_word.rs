//! The word of a spin lock: open, or the CPU that holds it.
//!
//! # Invariants
//! - **holders-in-order**: a CPU that takes the word sees all that each holder before
//!   it did.
//! - **own-mark-is-held**: a CPU that reads its own mark holds the word. A CPU never
//!   reads a value older than its own last store (coherence), and a holder's last store
//!   opens the word. A holder stays on its CPU: preemption is off.
//! - **watched-then-looked**: a CPU that sleeps for the word watches it first, and then looks
//!   whether it is held. A word that was opened before is seen open, and one that is opened later
//!   ends the sleep. So the holder's store is all that an unlock takes: no fence, no look at
//!   whether a CPU waits, no event of its own.
//!
//! `tests/loom_spin_word.rs` checks this file as it stands.

#![forbid(unsafe_code)]

use core::num::NonZeroUsize;

use crate::sync::LocalCpu;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// No CPU holds the word.
const OPEN: usize = 0;

/// Which CPU holds a lock, by its mark ([`LocalCpu::cpu_mark`]).
#[derive(Debug)]
pub struct SpinWord {
    /// A mark, or [`OPEN`]. Taken Acquire, which pairs with the Release of
    /// [`SpinWord::open`] (holders-in-order).
    holder: AtomicUsize,
}

impl SpinWord {
    const_unless_loom! {
        /// An open word.
        #[allow(
            clippy::new_without_default,
            reason = "a lock is never made by default"
        )]
        pub const fn new() -> Self {
            SpinWord {
                holder: AtomicUsize::new(OPEN),
            }
        }
    }

    /// Takes the word for the CPU of mark `me`, if it is open; returns whether it was.
    #[inline]
    #[must_use]
    pub fn try_take(&self, me: NonZeroUsize) -> bool {
        let taken =
            self.holder
                .compare_exchange(OPEN, me.get(), Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok()
    }

    /// Opens the word.
    ///
    /// # Context
    /// The holder, or a CPU that acts for it.
    #[inline]
    pub fn open(&self) {
        self.holder.store(OPEN, Ordering::Release);
    }

    /// Returns the mark of the CPU that held the word a moment ago; if it is the caller's,
    /// the caller holds the word now (own-mark-is-held).
    #[inline]
    pub fn holder(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.holder.load(Ordering::Relaxed))
    }

    /// Sleeps while the word is held. May return early: the caller looks again.
    ///
    /// # Context
    /// Not the holder.
    #[inline]
    pub fn sleep_while_held<E: LocalCpu>(&self) {
        // What is loaded is what the CPU watches (watched-then-looked).
        if E::load_watched(&self.holder) != OPEN {
            E::sleep_until_event();
        }
    }
}
