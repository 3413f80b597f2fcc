//! What a sleep costs on this machine, and a turn of a spin: measured, and kept up to date.
//!
//! Waits decide from it for how long they spin before they sleep
//! ([`SpinBudget`](crate::sync::SpinBudget)).
//!
//! # What is measured
//! At boot: what the boot CPU needs to send itself an interrupt and to sleep until that is there,
//! which no sleep can undercut; and a turn of a spin, because a wait counts turns. A look at the
//! clock in each turn takes the lock of all devices under an emulator. Then, at each sleep that an
//! SGI ends, how long that SGI took to wake its CPU. A wake-up that takes much longer than the
//! last ones is a CPU that didn't get a core, and hardly counts.

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::sync::Wait;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How many times the cost that was measured at boot a sleep is taken to cost at most.
const MOST: u32 = 32;

/// The turns that are timed at boot.
pub(super) const TIMED_TURNS: u32 = 1024;

/// How many times each is timed at boot. The least counts: the first time is cold, and a host may
/// stop this CPU in between.
const TIMES: u32 = 4;

/// About what a host gives a thread before it looks at others. It only says how long waits go
/// without long spins that were in vain.
pub const SLICE: Duration = Duration::from_millis(4);

/// What a sleep and a wake-up cost on this machine. All words are Relaxed: each is a value of its
/// own, from which a CPU only guesses.
#[derive(Debug)]
pub struct SleepCost {
    /// What no sleep undercuts, in ticks; 0 until [`SleepCost::learn`].
    least: AtomicU32,
    /// What a sleep costs, in ticks.
    ticks: AtomicU32,
    /// What [`TIMED_TURNS`] turns took at boot, in ticks.
    timed_turns: AtomicU32,
    /// [`SLICE`] in ticks.
    slice: AtomicU32,
    /// When a CPU sent an SGI last, in ticks.
    sent: AtomicU64,
}

impl SleepCost {
    const_unless_loom! {
        /// Returns the cost of a sleep on a machine of which nothing is known.
        #[allow(
            clippy::new_without_default,
            reason = "a machine has one, which is never made by default"
        )]
        pub const fn new() -> Self {
            SleepCost {
                least: AtomicU32::new(0),
                ticks: AtomicU32::new(0),
                timed_turns: AtomicU32::new(0),
                slice: AtomicU32::new(0),
                sent: AtomicU64::new(0),
            }
        }
    }

    /// Measures this machine, on which [`SLICE`] takes so many ticks. `sleep_fn` sleeps once, with
    /// the interrupt that ends the sleep pending before.
    ///
    /// # Context
    /// The boot CPU, alone.
    pub fn learn<W: Wait>(&self, slice: u64, mut sleep_fn: impl FnMut()) {
        let least_of = |call_fn: &mut dyn FnMut()| {
            let times = (0..TIMES).map(|_| ticks_of::<W>(call_fn));
            times.min().unwrap_or(0)
        };
        let sleep = least_of(&mut sleep_fn);
        let turns = least_of(&mut || {
            for _ in 0..TIMED_TURNS {
                // As a wait's turn does, it looks at a word.
                if self.sent.load(Ordering::Relaxed) == u64::MAX {
                    break;
                }
                W::relax();
            }
        });
        self.set(sleep, turns, slice);
    }

    /// Sets what [`SleepCost::learn`] measures: the ticks of a sleep, of as many turns as it times,
    /// and of a host's time slice.
    pub(super) fn set(&self, sleep: u64, timed_turns: u64, slice: u64) {
        let ticks = u32::try_from(sleep).unwrap_or(u32::MAX / MOST).max(1);
        let turns = u32::try_from(timed_turns).unwrap_or(u32::MAX).max(1);
        let slice = u32::try_from(slice).unwrap_or(u32::MAX).max(1);
        self.timed_turns.store(turns, Ordering::Relaxed);
        self.slice.store(slice, Ordering::Relaxed);
        self.ticks.store(ticks, Ordering::Relaxed);
        self.least.store(ticks, Ordering::Relaxed);
    }

    /// Notes that an SGI is sent at `now`.
    #[inline]
    pub fn note_sent(&self, now: u64) {
        self.sent.store(now, Ordering::Relaxed);
    }

    /// Returns when an SGI was sent, if one was between `began` and `now`: it is taken for the one
    /// which has ended a sleep that took so long.
    pub(super) fn sent_within(&self, began: u64, now: u64) -> Option<u64> {
        let sent = self.sent.load(Ordering::Relaxed);
        (began < sent && sent <= now).then_some(sent)
    }

    /// Learns from a sleep that an SGI ended `woken_in` ticks after it was sent.
    pub(super) fn note_wake(&self, woken_in: u64) {
        let least = self.least.load(Ordering::Relaxed);
        if least == 0 {
            return;
        }
        let ticks = self.ticks.load(Ordering::Relaxed);
        let woken_in = u32::try_from(woken_in).unwrap_or(u32::MAX);
        let woken_in = woken_in.min(ticks.saturating_mul(4));
        let next = if ticks == least {
            woken_in // The first, or it has been as short as it can be.
        } else if woken_in < ticks {
            ticks - (ticks - woken_in) / 4
        } else {
            ticks.saturating_add((woken_in - ticks) / 16)
        };
        let next = next.clamp(least, least.saturating_mul(MOST));
        self.ticks.store(next, Ordering::Relaxed);
    }

    /// Returns what a sleep costs, in ticks; 0 if it isn't known yet.
    pub fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed).into()
    }

    /// Returns what so many turns took at boot as are timed, in ticks.
    pub(super) fn timed_turns(&self) -> u32 {
        self.timed_turns.load(Ordering::Relaxed).max(1)
    }

    /// Returns a host's time slice in ticks.
    pub(super) fn slice(&self) -> u64 {
        self.slice.load(Ordering::Relaxed).max(1).into()
    }
}

/// Returns what a call of `call_fn` takes, in ticks. Out of line: each copy of this code would be
/// cold once more.
#[inline(never)]
fn ticks_of<W: Wait>(call_fn: &mut dyn FnMut()) -> u64 {
    let began = W::ticks();
    call_fn();
    W::ticks().saturating_sub(began)
}

#[cfg(all(test, not(loom)))]
mod tests;
