//! Waiting for another CPU without burning a host's time slice.
//!
//! More virtual CPUs than host cores is a guest's normal life, and there a spin
//! costs tens of milliseconds. A waiter spins for a bounded number of turns, as many as have
//! been worth it lately ([`Spins`]), and
//! then sleeps in WFI until the publisher sends it the wake SGI.
//!
//! ```text
//!   waiter (IRQs masked)                      publisher
//!   ─────────────────────                     ──────────────────────
//!   set own sleeper bit                       store the state (Release)
//!   fence(SeqCst)       sleeper-or-state      fence(SeqCst)
//!   loop {                                    load the sleeper bits
//!     load the state (Acquire); done? break   any? SGI to them
//!     WFI; take the wake SGI
//!   }
//!   clear own sleeper bit
//! ```
//!
//! # Invariants
//! - **sleeper-or-state**: either the publisher's load sees the sleeper bit, or the
//!   waiter's first load sees the new state. Both fences are needed (store buffering):
//!   with either left out the waiter can sleep for ever.
//! - **consume-then-check**: a stale wake SGI and a new one share one pending bit. A
//!   waiter that wakes takes the SGI *before* it looks at the state again.
//! - **one-sleeper-per-cpu**: a sleeper bit is written by its own CPU only, and stands
//!   for one waiter. Of two waiters of a CPU the first to go on would clear the bit
//!   under the other, which would sleep for ever. So a CPU has one waiter at a point:
//!   the others wait with preemption off, or under a lock. A second one is found
//!   ([`WaitPoint::begin_sleep`]).
//!
//! `tests/loom_wait_point.rs` checks this file as it stands, and shows
//! `sleeper-or-state` and `consume-then-check` broken.

use crate::config::MASK_WORDS;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{AtomicBits, Bits, IrqGuard, Resting, Spins, Wait, Woken};

/// A place where CPUs wait for a state to be published.
#[derive(Debug, Default)]
pub struct WaitPoint {
    /// The CPUs that may be asleep here. Set Relaxed before the waiter's SeqCst fence,
    /// read Relaxed after the publisher's (sleeper-or-state).
    sleepers: AtomicBits,
}

impl WaitPoint {
    const_unless_loom! {
        /// Makes a wait point at which no CPU waits.
        pub const fn new() -> Self {
            WaitPoint {
                sleepers: AtomicBits::new(),
            }
        }
    }

    /// A move of the waiter: from now on a publisher will send the wake SGI to
    /// `cpu`. The waiter must look at the state after this, before it sleeps.
    ///
    /// # Panics
    /// If another waiter of this CPU sleeps here (one-sleeper-per-cpu).
    #[inline]
    pub fn begin_sleep(&self, cpu: usize) {
        let alone = self.sleepers.set(cpu, Ordering::Relaxed);
        assert!(
            alone,
            "BUG: two waiters of CPU {cpu} sleep at one wait point"
        );
        fence(Ordering::SeqCst); // Waiter's half (sleeper-or-state).
    }

    /// A move of the waiter: it is awake for good.
    #[inline]
    pub fn end_sleep(&self, cpu: usize) {
        self.sleepers.clear(cpu, Ordering::Relaxed);
    }

    /// A move of the publisher, after its Release store of the state: returns which CPUs
    /// of `participants` must be sent the wake SGI, `None` if none sleeps.
    #[must_use]
    pub fn sleepers_after_store(&self, participants: &Bits) -> Option<Bits> {
        fence(Ordering::SeqCst); // Publisher's half (sleeper-or-state).
        let mut any = 0;
        let mut bits = [0; MASK_WORDS];
        for (word, of_interest) in participants.iter().enumerate() {
            if *of_interest != 0 {
                bits[word] = self.sleepers.word(word, Ordering::Relaxed) & of_interest;
                any |= bits[word];
            }
        }
        (any != 0).then_some(bits)
    }

    /// As [`WaitPoint::sleepers_after_store`], for the one CPU that can be waiting:
    /// returns whether it must be sent the wake SGI.
    #[inline]
    #[must_use]
    pub fn sleeps_after_store(&self, cpu: usize) -> bool {
        fence(Ordering::SeqCst); // Publisher's half for one waiter (sleeper-or-state).
        self.sleepers.get(cpu, Ordering::Relaxed)
    }

    /// Publishes a state: calls `store_fn`, which must store with Release, and
    /// wakes those of `participants` that sleep here.
    pub fn publish<W: Wait>(&self, participants: &Bits, store_fn: impl FnOnce()) {
        store_fn();
        if let Some(sleepers) = self.sleepers_after_store(participants) {
            W::send_wake(&sleepers);
        }
    }

    /// Returns the CPUs that slept here a moment ago: for diagnosis.
    pub fn sleepers_racy(&self) -> Bits {
        self.sleepers.snapshot(Ordering::Relaxed)
    }

    /// Waits until `check_fn` returns something; it must load with Acquire.
    /// Spins as `spins` says before it sleeps.
    ///
    /// It loses a timer interrupt that ends a sleep: the timer is off then, and what it was armed
    /// for is forgotten. Where a timer may be armed, use [`WaitPoint::wait_masked_until_late`].
    ///
    /// # Context
    /// IRQs masked, priority mask closed to all but what is urgent, no interrupt
    /// active; the only waiter of this CPU. The wait is bounded where it is begun: in
    /// a stop it is for CPUs that have all arrived, which only a panic, which ends the sleep, or
    /// the function that they run can hold up; a CPU that comes up waits for the control
    /// thread's verdict, and no still point waits for that CPU meanwhile.
    ///
    /// # Panics
    /// If another waiter of this CPU sleeps here (one-sleeper-per-cpu).
    pub fn wait_masked<'s, W: Wait, T>(
        &self,
        cpu: usize,
        spins: impl Into<Spins<'s>>,
        check_fn: impl FnMut() -> Option<T>,
    ) -> T {
        self.wait_masked_until_late::<W, T>(cpu, spins, check_fn, |_| {})
    }

    /// As [`WaitPoint::wait_masked`], and calls `woken_fn` with what ended each sleep, so
    /// that a waiter which has armed the timer can look at the time.
    ///
    /// # Context
    /// As [`WaitPoint::wait_masked`].
    ///
    /// # Panics
    /// As [`WaitPoint::wait_masked`].
    pub fn wait_masked_until_late<'s, W: Wait, T>(
        &self,
        cpu: usize,
        spins: impl Into<Spins<'s>>,
        mut check_fn: impl FnMut() -> Option<T>,
        mut woken_fn: impl FnMut(Woken),
    ) -> T {
        let spins = spins.into();
        if let Some(value) = spins.spin::<W, T>(&mut check_fn) {
            return value;
        }
        spins.sleep::<W, T>(|| {
            self.begin_sleep(cpu);
            let value = loop {
                if let Some(value) = check_fn() {
                    break value;
                }
                W::sleep();
                woken_fn(W::take_wake()); // Before the next look (consume-then-check).
            };
            self.end_sleep(cpu);
            value
        })
    }

    /// As [`WaitPoint::wait_masked`], with interrupts served while it waits:
    /// each turn opens and closes the IRQ window, and the wake SGI has an
    /// ordinary, empty handler. Any interrupt makes it look again, so
    /// `check_fn` may keep a time limit if a timer is armed for it.
    ///
    /// # Context
    /// IRQs on, priority mask open; the only waiter of this CPU: with preemption off, or
    /// under a lock that every waiter of this point takes.
    ///
    /// # Panics
    /// If another waiter of this CPU sleeps here (one-sleeper-per-cpu).
    pub fn wait_open<'s, W: Wait, T>(
        &self,
        cpu: usize,
        spins: impl Into<Spins<'s>>,
        mut check_fn: impl FnMut() -> Option<T>,
    ) -> T {
        let spins = spins.into();
        if let Some(value) = spins.spin::<W, T>(&mut check_fn) {
            return value;
        }
        spins.sleep::<W, T>(|| {
            self.begin_sleep(cpu);
            let value = loop {
                let masked = IrqGuard::<W>::new();
                if let Some(value) = check_fn() {
                    break value;
                }
                W::sleep();
                drop(masked);
                W::serve_interrupts(); // The handlers consume the wake SGI (consume-then-check).
            };
            self.end_sleep(cpu);
            value
        })
    }

    /// As [`WaitPoint::wait_open`], and returns with IRQs masked. While it sleeps it is at rest: a
    /// CPU that stores the new state may count it in `resting` instead of waking it. Returns `None`
    /// then, whenever it is woken.
    ///
    /// # Context
    /// As [`WaitPoint::wait_open`].
    ///
    /// # Panics
    /// As [`WaitPoint::wait_open`].
    #[inline]
    pub fn wait_open_at_rest<'s, W: Wait, T>(
        &self,
        cpu: usize,
        spins: impl Into<Spins<'s>>,
        resting: &Resting,
        mut check_fn: impl FnMut() -> Option<T>,
    ) -> (IrqGuard<W>, Option<T>) {
        let spins = spins.into();
        match spins.spin::<W, T>(&mut check_fn) {
            Some(value) => (IrqGuard::new(), Some(value)),
            None => self.sleep_open_at_rest(cpu, spins, resting, check_fn),
        }
    }

    /// The sleep of [`WaitPoint::wait_open_at_rest`]. Out of line: a wait that ends in its spin
    /// doesn't pay for it.
    #[inline(never)]
    fn sleep_open_at_rest<W: Wait, T>(
        &self,
        cpu: usize,
        spins: Spins<'_>,
        resting: &Resting,
        mut check_fn: impl FnMut() -> Option<T>,
    ) -> (IrqGuard<W>, Option<T>) {
        spins.sleep_at_rest::<W, T>(resting, || {
            self.begin_sleep(cpu);
            let (masked, value) = loop {
                let masked = IrqGuard::<W>::new();
                let value = check_fn();
                if value.is_some() {
                    break (masked, value);
                }
                // A CPU that has stored the state since then sends an SGI, if it is too early to
                // count this one.
                resting.begin(cpu);
                W::sleep();
                if !resting.take_back(cpu) {
                    break (masked, None); // (counted-stays-masked)
                }
                drop(masked);
                W::serve_interrupts(); // As in `wait_open`.
            };
            self.end_sleep(cpu);
            (masked, value)
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_waiter_of_a_cpu_after_the_other_sleeps() {
        let point = WaitPoint::new();
        for _ in 0..2 {
            point.begin_sleep(1);
            point.begin_sleep(0);
            assert_eq!(point.sleepers_racy()[0], 0b11);
            point.end_sleep(1);
            assert_eq!(point.sleepers_racy()[0], 0b01);
            point.end_sleep(0);
        }
    }

    #[test]
    #[should_panic(expected = "BUG: two waiters of CPU 1")]
    fn a_second_waiter_of_the_same_cpu_is_found() {
        let point = WaitPoint::new();
        point.begin_sleep(1);
        point.begin_sleep(1);
    }
}
