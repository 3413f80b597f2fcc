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
//!   it slept, and what it waited for   the budget doubles, up to what a sleep is worth
//!   came within that
//!   that came later                    the budget falls to a quarter, down to a few turns
//!   it has spun for all of that and    likewise: what comes a little later would be spun for in
//!   slept                              vain for ever
//!   400 spins more were in vain than   it spins for a few turns alone for 80 ms; for twice as long
//!   have ended waits: those of a few   each time, up to 2 s
//!   turns don't count
//! ```
//! With a core for each CPU the waits of a kind that takes microseconds end in the spin after a
//! few sleeps. With more CPUs than cores the CPU that is awaited often doesn't run: a wait takes
//! as long as a time slice, and after three waits nobody spins.
//!
//! Two virtual CPUs that wait for each other may share a core while another core is idle: each
//! runs when the other one sleeps, so that the host sees no reason to part them, and each spins
//! in vain. A guest can't tell that from a host with one core, so waits spin until a host has had
//! the time to see it, and then hold back.
//!
//! # What is measured
//! When what was waited for came: when the SGI was sent that ended the sleep. And how long turns of
//! this kind of wait take, from those of a long spin that was in vain. It differs by what a turn
//! looks at, and an emulator that runs one CPU at a time gives a YIELD to another one.
//!
//! # Sources
//! Linux `Documentation/virt/guest-halt-polling.rst` for the growing and shrinking; its limit is
//! a number, here it is measured.

#![forbid(unsafe_code)]

use core::cell::Cell;

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::sleep_cost::{SleepCost, TIMED_TURNS};
use crate::sync::{IrqGuard, LocalCpu, Resting};

/// The least that a wait spins, in turns: on every machine that is a small part of a sleep.
const FEW_TURNS: u32 = 6;

/// The turns of a wait before the first that are timed.
const UNTIMED: u32 = 64;

/// What a wait may spin on a machine of a test, which knows no cost.
const TURNS_IN_A_TEST: u32 = 10 * FEW_TURNS;

/// What the sleep of a thread costs, in sleeps by WFI.
const THREAD_SLEEPS: u32 = 4;

/// How many spins more may be in vain than end waits, until a budget holds back. With a core for
/// each CPU but two that wait for each other on one of them, that is some milliseconds: within
/// that a host sees it.
const VAIN_SPINS: u32 = 400;

/// The fewest ticks from which a wait learns how long turns take: what is shorter, a clock of 1 MHz
/// can't tell.
const TOLD: u64 = 16;

/// For how many time slices of a host a budget holds back: the first time, and at most.
const HOLDS_BACK: (u32, u32) = (20, 500);

/// How many turns the waits of one kind spin before they sleep. All words are Relaxed: each wait
/// takes what it finds; of two that learn at once one may be forgotten.
#[derive(Debug)]
pub struct SpinBudget {
    turns: AtomicU32,
    /// What [`TIMED_TURNS`] turns take, in ticks; 0: as at boot.
    timed_turns: AtomicU32,
    /// How many spins were in vain, but those of a few turns; those that ended waits are taken off.
    vain: AtomicU32,
    /// For how many time slices it holds back this time, or did the last time; 0: it didn't.
    holds_back: AtomicU32,
    /// Until which time slice it holds back, counted from the counter's 0.
    held_until: AtomicU32,
    /// The fewest turns.
    least: u32,
    worth: Worth,
}

/// How long a wait may spin, in costs of a sleep in WFI.
#[derive(Clone, Copy, Debug)]
enum Worth {
    Half,
    Sleeps(u32),
    /// It learns nothing.
    Fixed,
}

impl SpinBudget {
    const_unless_loom! {
        /// Returns the budget of waits that sleep in WFI. Several CPUs may wait at once, and one that
        /// they wait for may need the core of one that spins.
        #[allow(
            clippy::new_without_default,
            reason = "there are several kinds"
        )]
        pub const fn new() -> Self {
            Self::with(FEW_TURNS, FEW_TURNS, Worth::Half)
        }
    }

    const_unless_loom! {
        /// Returns the budget of waits for one other CPU, which may have to be woken first: a wait
        /// that both sleep through takes two wake-ups, and may still be one of microseconds.
        pub const fn of_pair() -> Self {
            Self::with(FEW_TURNS, FEW_TURNS, Worth::Sleeps(2))
        }
    }

    const_unless_loom! {
        /// Returns the budget of waits for several other CPUs, which a host wakes one by one.
        pub const fn of_many() -> Self {
            Self::with(FEW_TURNS, FEW_TURNS, Worth::Sleeps(4))
        }
    }

    const_unless_loom! {
        /// Returns the budget of waits by which a thread sleeps. It is switched away from and back
        /// to, and another CPU or a handler makes it ready.
        pub const fn of_thread() -> Self {
            Self::with(FEW_TURNS, FEW_TURNS, Worth::Sleeps(THREAD_SLEEPS))
        }
    }

    const_unless_loom! {
        /// Does as [`SpinBudget::of_thread`], for waits whose sleep costs `sleeps` times what a WFI
        /// costs, and that spin for as long as they may until they have learnt that it is in vain.
        pub const fn of_eager_thread(sleeps: u32) -> Self {
            Self::with(u32::MAX, FEW_TURNS, Worth::Sleeps(sleeps))
        }
    }

    const_unless_loom! {
        /// Returns the budget of an idle CPU, which doesn't spin at all unless it has learnt that
        /// this helps. It may do so for long: until the CPU that calls it is woken too, and both
        /// have a core.
        pub const fn of_idle() -> Self {
            Self::with(0, 0, Worth::Sleeps(6))
        }
    }

    const_unless_loom! {
        /// Returns a budget that learns nothing: it is what [`SpinBudget::set`] sets.
        pub const fn fixed() -> Self {
            Self::with(FEW_TURNS, FEW_TURNS, Worth::Fixed)
        }
    }

    const_unless_loom! {
        const fn with(turns: u32, least: u32, worth: Worth) -> Self {
            SpinBudget {
                turns: AtomicU32::new(turns),
                timed_turns: AtomicU32::new(0),
                vain: AtomicU32::new(0),
                holds_back: AtomicU32::new(0),
                held_until: AtomicU32::new(0),
                least,
                worth,
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

    /// Has the first wait of an eager kind spin for as long as its sleep is worth. To be called
    /// before each.
    pub fn begin<E: LocalCpu>(&self) {
        if self.turns() == u32::MAX {
            self.set(E::sleep_cost().map_or(TURNS_IN_A_TEST, |cost| self.most_turns(cost)));
        }
    }

    /// Returns within how many ticks a wait that is given up would be taken for a short one: it
    /// counts as one if it lasts for less than its sleep is worth.
    pub fn least_limit<E: LocalCpu>(&self) -> u64 {
        E::sleep_cost().map_or(0, |cost| {
            self.worth_ticks(cost).saturating_add(cost.ticks())
        })
    }

    /// Learns from a wait that ended while it spun for more than a few turns.
    #[inline]
    fn note_spin(&self) {
        let vain = self.vain.load(Ordering::Relaxed);
        if vain != 0 {
            self.vain.store(vain - 1, Ordering::Relaxed);
            if vain == 1 {
                self.holds_back.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Learns that it was no wait of this kind: the budget falls as after one that was too long.
    pub(super) fn note_other(&self) {
        self.change(self.turns() / 4);
    }

    /// Learns how long turns take from `turns` that took `ticks`.
    fn note_turns(&self, turns: u32, ticks: u64, cost: &SleepCost) {
        if ticks < TOLD {
            return;
        }
        let took = ticks.saturating_mul(TIMED_TURNS.into()) / u64::from(turns.max(1));
        let took = u32::try_from(took).unwrap_or(u32::MAX).max(1);
        let before = self.timed(cost);
        let is_first = self.timed_turns.load(Ordering::Relaxed) == 0;
        // Longer ones may have been interrupted.
        let next = if is_first {
            took.min(before.saturating_mul(8))
        } else if took < before {
            took.midpoint(before)
        } else {
            before.saturating_add((took.min(before.saturating_mul(2)) - before).div_ceil(8))
        };
        self.timed_turns.store(next, Ordering::Relaxed);
    }

    /// Learns from a wait that has spun for as long as it might and then slept, until `now`. What
    /// it waited for came `came` ticks after the spin.
    fn note_sleep(&self, came: u64, now: u64, cost: &SleepCost) {
        if cost.ticks() == 0 || matches!(self.worth, Worth::Fixed) {
            return;
        }
        let most = self.most_turns(cost);
        let turns = self.turns().min(most);
        let awaited = self.ticks_of(turns, cost).saturating_add(came);
        // Or nearly all: what a sleep costs changes while the budget grows.
        let is_full = turns > most - most / 8;
        let is_dear = turns > FEW_TURNS;
        let next = if is_dear && self.was_in_vain(now, cost) || self.is_held_back(now, cost) {
            0
        } else if is_full || awaited > self.worth_ticks(cost) {
            turns / 4
        } else {
            turns.saturating_mul(2).max(FEW_TURNS).min(most)
        };
        self.change(next);
    }

    /// Lets the next wait spin for `turns`, or for the least if they are few.
    fn change(&self, turns: u32) {
        let turns = if turns < FEW_TURNS { self.least } else { turns };
        if turns != self.turns() {
            self.set(turns);
        }
    }

    /// Notes a spin in vain. Returns whether there have been enough of them: then the budget begins
    /// to hold back.
    fn was_in_vain(&self, now: u64, cost: &SleepCost) -> bool {
        let vain = self.vain.load(Ordering::Relaxed) + 1;
        let is_enough = vain > VAIN_SPINS;
        if is_enough {
            let (first, most) = HOLDS_BACK;
            let holds_back = self.holds_back.load(Ordering::Relaxed).saturating_mul(2);
            let holds_back = holds_back.clamp(first, most);
            self.holds_back.store(holds_back, Ordering::Relaxed);
            let until = slice_at(now, cost).wrapping_add(holds_back);
            self.held_until.store(until, Ordering::Relaxed);
        }
        // Not 0: it has to see whether spins end waits again.
        self.vain
            .store(if is_enough { 1 } else { vain }, Ordering::Relaxed);
        is_enough
    }

    fn is_held_back(&self, now: u64, cost: &SleepCost) -> bool {
        if self.holds_back.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let left = self.held_until.load(Ordering::Relaxed);
        let left = left.wrapping_sub(slice_at(now, cost));
        (1..=HOLDS_BACK.1).contains(&left)
    }

    /// Returns how many ticks a wait may spin.
    fn worth_ticks(&self, cost: &SleepCost) -> u64 {
        match self.worth {
            Worth::Sleeps(sleeps) => cost.ticks().saturating_mul(sleeps.into()),
            Worth::Half => cost.ticks() / 2,
            Worth::Fixed => 0,
        }
    }

    /// Returns how many turns a wait may spin.
    fn most_turns(&self, cost: &SleepCost) -> u32 {
        let turns = self.worth_ticks(cost).saturating_mul(TIMED_TURNS.into());
        let turns = turns / u64::from(self.timed(cost));
        u32::try_from(turns).unwrap_or(u32::MAX).max(FEW_TURNS)
    }

    /// Returns how long `turns` take, in ticks.
    fn ticks_of(&self, turns: u32, cost: &SleepCost) -> u64 {
        u64::from(turns).saturating_mul(self.timed(cost).into()) / u64::from(TIMED_TURNS)
    }

    /// Returns what [`TIMED_TURNS`] turns take, in ticks; at least 1.
    fn timed(&self, cost: &SleepCost) -> u32 {
        match self.timed_turns.load(Ordering::Relaxed) {
            0 => cost.timed_turns(),
            ticks => ticks,
        }
    }
}

/// Returns the number of the time slice at `now`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "numbers are compared modulo 2^32"
)]
fn slice_at(now: u64, cost: &SleepCost) -> u32 {
    (now / cost.slice()) as u32
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
    /// Calls `check_fn` until it returns something, for as many turns as the wait may spin. Returns
    /// what it returned; `None`: the wait is to sleep, by [`Spins::sleep`].
    #[inline]
    pub fn spin<E: LocalCpu, T>(self, mut check_fn: impl FnMut() -> Option<T>) -> Option<T> {
        let turns = match self {
            Spins::Turns(turns) => turns,
            Spins::Learnt(budget) => budget.turns(),
            Spins::Spent(_) => 0,
        };
        if turns == 0 {
            return None;
        }
        // If it is there at first, there is nothing to spin for.
        let at_first = check_fn();
        if at_first.is_some() {
            return at_first;
        }
        let mut timed_from = 0;
        for turn in 1..turns {
            E::relax();
            if let Some(value) = check_fn() {
                if turn > FEW_TURNS {
                    self.note_spin();
                }
                return Some(value);
            }
            if turn == UNTIMED {
                timed_from = E::ticks();
            }
        }
        if turns > UNTIMED {
            self.note_turns::<E>(turns - UNTIMED, timed_from);
        }
        None
    }

    /// Learns how long `turns` take, which began at `began`.
    #[cold]
    fn note_turns<E: LocalCpu>(self, turns: u32, began: u64) {
        if let (Spins::Learnt(budget), Some(cost)) = (self, E::sleep_cost()) {
            budget.note_turns(turns, E::ticks().saturating_sub(began), cost);
        }
    }

    #[inline]
    fn note_spin(self) {
        if let Spins::Learnt(budget) = self {
            budget.note_spin();
        }
    }

    /// Calls `sleep_fn`, by which a wait sleeps that has spun in vain, until an SGI wakes it, and
    /// learns from how long it takes. Returns its value.
    pub fn sleep<E: LocalCpu, R>(self, sleep_fn: impl FnOnce() -> R) -> R {
        self.learn_from::<E, R>(sleep_fn, came_by_sgi)
    }

    /// Does as [`Spins::sleep`]. `is_awaited_fn` tells after the sleep whether that woke it which
    /// this kind of wait is for.
    pub(super) fn sleep_unless_other<E: LocalCpu, R>(
        self,
        sleep_fn: impl FnOnce() -> R,
        is_awaited_fn: impl FnOnce() -> bool,
    ) -> R {
        self.learn_from::<E, R>(sleep_fn, |began, now, cost| {
            let came = came_by_sgi(began, now, cost);
            if is_awaited_fn() { came } else { u64::MAX }
        })
    }

    /// Does as [`Spins::sleep`], for a sleep at rest: if `sleep_fn` returns no value, what the wait
    /// was for came when its CPU was counted in `resting`.
    pub(super) fn sleep_at_rest<E: LocalCpu, T>(
        self,
        resting: &Resting,
        sleep_fn: impl FnOnce() -> (IrqGuard<E>, Option<T>),
    ) -> (IrqGuard<E>, Option<T>) {
        let was_counted = Cell::new(false);
        self.learn_from::<E, _>(
            || {
                let (masked, value) = sleep_fn();
                was_counted.set(value.is_none());
                (masked, value)
            },
            |began, now, cost| {
                if was_counted.get() {
                    resting.counted_at().clamp(began, now) - began
                } else {
                    came_by_sgi(began, now, cost)
                }
            },
        )
    }

    /// Does as [`Spins::sleep`], for a sleep that a store wakes.
    pub fn sleep_until_store<E: LocalCpu, R>(self, sleep_fn: impl FnOnce() -> R) -> R {
        self.learn_from::<E, R>(sleep_fn, |began, now, cost| {
            (now - began).saturating_sub(cost.ticks())
        })
    }

    /// Calls `sleep_fn` and learns from it. `came_fn` returns after how many ticks of a sleep,
    /// from one instant to another, that came which was waited for.
    fn learn_from<E: LocalCpu, R>(
        self,
        sleep_fn: impl FnOnce() -> R,
        came_fn: impl FnOnce(u64, u64, &SleepCost) -> u64,
    ) -> R {
        match (self, E::sleep_cost()) {
            (Spins::Learnt(budget) | Spins::Spent(budget), Some(cost)) => {
                let began = E::ticks();
                let value = sleep_fn();
                let now = E::ticks().max(began);
                budget.note_sleep(came_fn(began, now, cost), now, cost);
                value
            }
            _ => sleep_fn(),
        }
    }
}

/// Returns after how many ticks of a sleep, from `began` to `now`, that came which was waited for;
/// learns what a wake-up costs.
fn came_by_sgi(began: u64, now: u64, cost: &SleepCost) -> u64 {
    match cost.sent_within(began, now) {
        Some(sent) => {
            cost.note_wake(now - sent);
            sent - began
        }
        // The sleep's own cost is no part of what it waited for.
        None => (now - began).saturating_sub(cost.ticks()),
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
