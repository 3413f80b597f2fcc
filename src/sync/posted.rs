//! Interrupts that are posted instead of sent: an idle CPU that polls is woken by a store.
//!
//! ```text
//!   idle CPU, IRQs masked                 sender, after its Release of the work
//!   ─────────────────────                 ─────────────────────────────────────
//!   word = POLLS                          load: POLLS? no: it sends the SGI
//!   some turns: is a bit there,           compare-exchange: POLLS and bits
//!     or an interrupt pending?              ─► POLLS, bits and its own bit
//!   bits = swap(word, 0)                    done: nothing to send
//!   no bit: WFI                             POLLS has gone: it sends the SGI
//!   calls the handler of each bit
//! ```
//!
//! # Invariants
//! - **posted-or-sent**: a bit is taken by the swap that ends the polling, or its sender is told to
//!   send the SGI. The word is one atomic: a sender changes it only while POLLS is there, and the
//!   CPU takes POLLS and the bits in one step.
//! - **post-shows-work**: the handler sees what the sender stored before the post (Release,
//!   Acquire).
//!
//! # When it polls
//! It learns from SGIs to it alone. One that is sent to several CPUs wakes them all: if all of
//! them polled for it, they would take the cores of a host from the CPU that is about to send it.
//!
//! `tests/loom_posted.rs` checks this file as it stands.
//!
//! # Sources
//! The idea is Linux's `TIF_POLLING_NRFLAG`.

#![forbid(unsafe_code)]

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{SpinBudget, Spins, Wait};

/// The CPU polls; the bits below are SGIs, by number.
const POLLS: u32 = 1 << 31;

/// While a CPU doesn't poll, how many of its sleeps go by between two whose length it learns
/// from: a look at the clock is dear beside an interrupt.
const UNWATCHED: u32 = 15;

/// The SGIs that were posted to one CPU, and whether it polls for them.
#[derive(Debug)]
pub struct Posted {
    /// [`POLLS`] and a bit for each SGI. Taken Acquire in [`Posted::poll`], which pairs with the
    /// Release of [`Posted::post`] (post-shows-work).
    word: AtomicU32,
    /// How long the CPU polls before it sleeps. Only this CPU uses it.
    budget: SpinBudget,
    /// Whether another CPU has sent an SGI to this one alone, not to several. Relaxed: the CPU only
    /// learns from it.
    called_alone: AtomicBool,
    /// How many sleeps go by before the next that the budget learns from. Relaxed: only this CPU
    /// uses it.
    unwatched: AtomicU32,
}

impl Posted {
    /// Returns the state of a CPU that doesn't poll.
    pub fn new() -> Self {
        Posted {
            word: AtomicU32::new(0),
            budget: SpinBudget::of_idle(),
            called_alone: AtomicBool::new(false),
            unwatched: AtomicU32::new(0),
        }
    }

    /// A move of the sender, when what the SGI of number `number` is about has been stored: posts
    /// it, if the CPU polls. Returns whether it has: if not, the SGI must be sent
    /// (posted-or-sent).
    #[inline]
    #[must_use]
    pub fn post(&self, number: u8) -> bool {
        let seen = self.word.load(Ordering::Relaxed);
        let posted = seen & POLLS != 0 && self.post_if_it_polls(seen, 1 << number);
        if !posted {
            self.note_called_alone();
        }
        posted
    }

    /// Notes that an SGI is sent to the CPU and to no other one.
    #[inline]
    pub fn note_called_alone(&self) {
        self.called_alone.store(true, Ordering::Relaxed);
    }

    #[cold]
    #[inline(never)]
    fn post_if_it_polls(&self, mut seen: u32, bit: u32) -> bool {
        while seen & POLLS != 0 {
            let posted =
                self.word
                    .compare_exchange(seen, seen | bit, Ordering::Release, Ordering::Relaxed);
            match posted {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Polls for as long as `spins` says. Returns the SGIs that were posted, a bit for each number; `None`
    /// if none was and no interrupt is pending.
    ///
    /// # Context
    /// The CPU itself, IRQs masked.
    pub fn poll<'s, W: Wait>(&self, spins: impl Into<Spins<'s>>) -> Option<u32> {
        self.word.store(POLLS, Ordering::Relaxed); // From now on SGIs are posted.
        let ended = spins.into().spin::<W, ()>(|| {
            let ended = self.word.load(Ordering::Relaxed) != POLLS || W::interrupt_is_pending();
            ended.then_some(())
        });
        let posted = self.word.swap(0, Ordering::Acquire) & !POLLS; // (posted-or-sent)
        (ended.is_some() || posted != 0).then_some(posted)
    }

    /// Waits until an interrupt is pending or an SGI was posted: polls for as long as that has
    /// been worth it lately, then sleeps. May return early. Returns the SGIs that were posted,
    /// whose handlers the caller calls.
    ///
    /// # Context
    /// The CPU itself, IRQs masked.
    #[inline]
    pub fn sleep<W: Wait>(&self) -> u32 {
        let unwatched = self.unwatched.load(Ordering::Relaxed);
        if unwatched == 0 {
            return self.sleep_and_learn::<W>();
        }
        self.unwatched.store(unwatched - 1, Ordering::Relaxed);
        W::sleep();
        0
    }

    #[cold]
    #[inline(never)]
    fn sleep_and_learn<W: Wait>(&self) -> u32 {
        if W::interrupt_is_pending() {
            return 0; // It doesn't have to wait, and there is nothing to learn.
        }
        // What the CPU was called for before doesn't end this sleep.
        self.called_alone.store(false, Ordering::Relaxed);
        let spins = Spins::Learnt(&self.budget);
        let called_alone = || self.called_alone.swap(false, Ordering::Relaxed);
        if self.budget.turns() > 0
            && let Some(posted) = self.poll::<W>(spins)
        {
            if !called_alone() && posted == 0 {
                self.budget.note_other();
            }
            return posted;
        }
        spins.sleep_unless_other::<W, ()>(W::sleep, called_alone);
        if self.budget.turns() == 0 {
            self.unwatched.store(UNWATCHED, Ordering::Relaxed);
        }
        0
    }
}

impl Default for Posted {
    fn default() -> Self {
        Self::new()
    }
}
