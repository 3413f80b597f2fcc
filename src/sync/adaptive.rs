//! How long a wait spins before it sleeps: learnt, and never chosen for a machine.
//!
//! A sleep and the wake-up that ends it cost the same whether the wait was short or long: an
//! exit to the hypervisor or two, and the time that a host takes to run a virtual CPU again. A
//! spin costs what it takes, and if the host has no core to spare, it takes that from the CPU
//! that is awaited. So a wait is worth a spin for about as long as a sleep and a wake-up cost
//! ([`SleepCost`]), if waits of its kind have been as short as that lately ([`SpinBudget`]).
//!
//! ```text
//!   the wait ended while it spun       nothing changes, and no clock is read
//!   it slept, and would have ended     the budget doubles, up to the cost of a sleep
//!   within that cost
//!   it slept for longer                the budget falls to a quarter, down to a few turns
//!   it has spun for all of that cost   likewise: what comes a little later would be spun for in
//!   and slept                          vain for ever
//! ```
//! With a core for each CPU the waits of a kind that takes microseconds end in the spin after a
//! few sleeps. With more CPUs than cores the CPU that is awaited often doesn't run: a wait takes
//! as long as a time slice, and after three waits nobody spins.
//!
//! # What is measured
//! At boot: what the boot CPU needs to send itself an interrupt and to sleep until that is there,
//! which no sleep can undercut; and a turn of a spin, because a wait counts turns. A look at the
//! clock in each turn takes the lock of all devices under an emulator. Then, at each sleep that a
//! wake SGI ends, how long that SGI took to wake its CPU. A wake-up that takes much longer than the
//! last ones is a CPU that didn't get a core, and hardly counts.
//!
//! # Sources
//! Linux `Documentation/virt/guest-halt-polling.rst` for the growing and shrinking; its limit is
//! a number, here it is measured.

#![forbid(unsafe_code)]

use crate::sync::Wait;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The least that a wait spins, in turns: on every machine that is a small part of a sleep.
const FEW_TURNS: u32 = 6;

/// What the sleep of a thread costs, in sleeps by WFI.
const THREAD_SLEEPS: u32 = 4;

/// How many times the cost that was measured at boot a sleep is taken to cost at most.
const MOST: u32 = 16;

/// The turns that are timed at boot.
const TIMED_TURNS: u32 = 1024;

/// The sleeps that are timed at boot.
const TIMED_SLEEPS: u32 = 4;

/// What a sleep and a wake-up cost on this machine. All words are Relaxed: each is a value of its
/// own, from which a CPU only guesses.
#[derive(Debug)]
pub struct SleepCost {
    /// What no sleep undercuts, in ticks; 0 until [`SleepCost::learn`].
    least: AtomicU32,
    /// What a sleep costs, in ticks.
    ticks: AtomicU32,
    /// What [`TIMED_TURNS`] turns take, in ticks.
    timed_turns: AtomicU32,
    /// When a CPU sent a wake SGI last, in ticks.
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
                sent: AtomicU64::new(0),
            }
        }
    }

    /// Measures this machine. `sleep_fn` sleeps once, with the interrupt that ends the sleep
    /// pending before.
    ///
    /// # Context
    /// The boot CPU, alone.
    pub fn learn<W: Wait>(&self, mut sleep_fn: impl FnMut()) {
        let time_of = |call_fn: &mut dyn FnMut()| {
            let began = W::ticks();
            call_fn();
            W::ticks().saturating_sub(began)
        };
        // The least: what the first one does for the first time isn't a sleep's cost.
        let sleeps = (0..TIMED_SLEEPS).map(|_| time_of(&mut sleep_fn));
        let sleep = sleeps.min().unwrap_or(0);
        let turns = time_of(&mut || {
            for _ in 0..TIMED_TURNS {
                // As a wait's turn does, it looks at a word.
                if self.sent.load(Ordering::Relaxed) == u64::MAX {
                    break;
                }
                W::relax();
            }
        });
        self.set(sleep, turns);
    }

    /// Sets what [`SleepCost::learn`] measures: the ticks of a sleep, and of as many turns as it
    /// times.
    pub(super) fn set(&self, sleep: u64, timed_turns: u64) {
        let ticks = u32::try_from(sleep).unwrap_or(u32::MAX / MOST).max(1);
        let turns = u32::try_from(timed_turns).unwrap_or(u32::MAX).max(1);
        self.timed_turns.store(turns, Ordering::Relaxed);
        self.ticks.store(ticks, Ordering::Relaxed);
        self.least.store(ticks, Ordering::Relaxed);
    }

    /// Notes that a wake SGI is sent at `now`.
    #[inline]
    pub fn note_sent(&self, now: u64) {
        self.sent.store(now, Ordering::Relaxed);
    }

    /// Learns from a sleep from `began` to `now`. If a wake SGI was sent meanwhile, that is taken
    /// for the one which has ended it.
    pub fn note_sleep(&self, began: u64, now: u64) {
        let sent = self.sent.load(Ordering::Relaxed);
        let least = self.least.load(Ordering::Relaxed);
        if least == 0 || sent <= began || sent > now {
            return;
        }
        let ticks = self.ticks.load(Ordering::Relaxed);
        let woken_in = u32::try_from(now - sent).unwrap_or(u32::MAX);
        let next = if ticks == least {
            woken_in // The first, or it has been as short as it can be.
        } else if woken_in < ticks {
            ticks - (ticks - woken_in) / 4
        } else {
            ticks.saturating_add((woken_in.min(ticks.saturating_mul(4)) - ticks) / 16)
        };
        let next = next.clamp(least, least.saturating_mul(MOST));
        self.ticks.store(next, Ordering::Relaxed);
    }

    /// Returns what a sleep costs, in ticks; 0 if it isn't known yet.
    pub fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed).into()
    }

    /// Returns how many turns take `ticks`.
    fn turns_in(&self, ticks: u64) -> u32 {
        let turns = u64::from(self.timed_turns.load(Ordering::Relaxed).max(1));
        let turns = ticks.saturating_mul(TIMED_TURNS.into()) / turns;
        u32::try_from(turns).unwrap_or(u32::MAX)
    }

    /// Returns how long `turns` take, in ticks.
    fn ticks_of(&self, turns: u32) -> u64 {
        let timed: u64 = self.timed_turns.load(Ordering::Relaxed).into();
        u64::from(turns).saturating_mul(timed) / u64::from(TIMED_TURNS)
    }
}

/// How many turns the waits of one kind spin before they sleep.
#[derive(Debug)]
pub struct SpinBudget {
    /// Relaxed: each wait takes what it finds; of two that learn at once one may be forgotten.
    turns: AtomicU32,
    /// The fewest turns.
    least: u32,
    /// How many times the cost of a sleep in WFI a sleep of this kind costs; 0: it learns nothing.
    sleeps: u32,
}

impl SpinBudget {
    const_unless_loom! {
        /// Returns the budget of waits that sleep in WFI.
        #[allow(
            clippy::new_without_default,
            reason = "there are several kinds"
        )]
        pub const fn new() -> Self {
            Self::with(FEW_TURNS, FEW_TURNS, 1)
        }
    }

    const_unless_loom! {
        /// Returns the budget of waits for one other CPU, which may have to be woken first: a wait
        /// that both sleep through takes two wake-ups, and may still be one of microseconds.
        pub const fn of_pair() -> Self {
            Self::with(FEW_TURNS, FEW_TURNS, 2)
        }
    }

    const_unless_loom! {
        /// Returns the budget of waits by which a thread sleeps. It is switched away from and back
        /// to, and another CPU or a handler makes it ready.
        pub const fn of_thread() -> Self {
            Self::with(FEW_TURNS, FEW_TURNS, THREAD_SLEEPS)
        }
    }

    const_unless_loom! {
        /// Does as [`SpinBudget::of_thread`], for waits whose sleep costs `sleeps` times what a WFI
        /// costs, and that spin for as long as they may until they have learnt that it is in vain.
        pub const fn of_eager_thread(sleeps: u32) -> Self {
            Self::with(u32::MAX, FEW_TURNS, sleeps)
        }
    }

    const_unless_loom! {
        /// Returns the budget of an idle CPU, which doesn't spin at all unless it has learnt that
        /// this helps. What it waits for may come from a CPU that has to be woken too.
        pub const fn of_idle() -> Self {
            Self::with(0, 0, 2)
        }
    }

    const_unless_loom! {
        /// Returns a budget that learns nothing: it is what [`SpinBudget::set`] sets.
        pub const fn fixed() -> Self {
            Self::with(FEW_TURNS, FEW_TURNS, 0)
        }
    }

    const_unless_loom! {
        const fn with(turns: u32, least: u32, sleeps: u32) -> Self {
            SpinBudget {
                turns: AtomicU32::new(turns),
                least,
                sleeps,
            }
        }
    }

    /// Returns how many turns a wait may spin now.
    #[inline]
    pub fn turns(&self) -> u32 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Sets how many turns a wait may spin from now on, for tests.
    pub fn set(&self, turns: u32) {
        self.turns.store(turns, Ordering::Relaxed);
    }

    /// Returns how many turns a wait may spin now, and no more than a sleep costs: for an eager
    /// wait. On a machine of a test, which knows no such cost, it is some.
    pub fn turns_within<W: Wait>(&self) -> u32 {
        let most = match W::sleep_cost() {
            Some(cost) => self.most_turns(cost),
            None => 10 * FEW_TURNS,
        };
        self.turns().min(most)
    }

    /// Learns from a wait that has spun for as long as it might and then slept for `slept` ticks.
    pub fn note_sleep(&self, slept: u64, cost: &SleepCost) {
        let sleep = cost.ticks();
        if sleep == 0 || self.sleeps == 0 {
            return;
        }
        let most = self.most_turns(cost);
        let turns = self.turns().min(most);
        let worth = sleep.saturating_mul(self.sleeps.into());
        // The sleep's own cost is no part of what it waited for.
        let awaited = cost
            .ticks_of(turns)
            .saturating_add(slept)
            .saturating_sub(worth);
        let next = if turns == most || awaited > worth {
            turns / 4
        } else {
            turns.saturating_mul(2).max(FEW_TURNS).min(most)
        };
        let next = if next < FEW_TURNS { self.least } else { next };
        if next != self.turns() {
            self.turns.store(next, Ordering::Relaxed);
        }
    }

    /// Returns how many turns take as long as a sleep of this kind costs.
    fn most_turns(&self, cost: &SleepCost) -> u32 {
        let worth = cost.ticks().saturating_mul(self.sleeps.into());
        cost.turns_in(worth).max(FEW_TURNS)
    }
}

/// How long one wait spins.
#[derive(Clone, Copy, Debug)]
pub enum Spins<'a> {
    /// So many turns: a model's.
    Turns(u32),
    /// As the waits before it have taught, and what it takes teaches the next.
    Learnt(&'a SpinBudget),
    /// It has spun already as this says: only what its sleep takes is to be learnt.
    Spent(&'a SpinBudget),
}

impl Spins<'_> {
    /// Returns how many turns the wait spins.
    #[inline]
    pub fn turns(self) -> u32 {
        match self {
            Spins::Turns(turns) => turns,
            Spins::Learnt(budget) => budget.turns(),
            Spins::Spent(_) => 0,
        }
    }

    /// Calls `sleep_fn`, by which a wait sleeps that has spun in vain, and learns from how long it
    /// takes. Returns its value.
    pub fn sleep<W: Wait, R>(self, sleep_fn: impl FnOnce() -> R) -> R {
        match (self, W::sleep_cost()) {
            (Spins::Learnt(budget) | Spins::Spent(budget), Some(cost)) => {
                let began = W::ticks();
                let value = sleep_fn();
                let now = W::ticks();
                cost.note_sleep(began, now);
                budget.note_sleep(now.saturating_sub(began), cost);
                value
            }
            _ => sleep_fn(),
        }
    }
}

impl From<u32> for Spins<'_> {
    fn from(turns: u32) -> Self {
        Spins::Turns(turns)
    }
}

impl<'a> From<&'a SpinBudget> for Spins<'a> {
    fn from(budget: &'a SpinBudget) -> Self {
        Spins::Learnt(budget)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
