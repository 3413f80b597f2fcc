//! Waits for a lock on a machine that is made up: another CPU holds the lock until an instant.

use std::boxed::Box;
use std::cell::Cell;

use super::*;
use crate::sync::atomic::AtomicUsize;
use crate::sync::{IrqFlags, SleepCost, SpinBudget};

/// A tick is a nanosecond, a turn takes 20, and no sleep is longer than 65,000.
const TURN: u64 = 20;
const EVENT_PERIOD: u64 = 65_000;
/// What the machine takes a sleep to cost.
const SLEEP: u64 = 10_000;

const ME: NonZeroUsize = NonZeroUsize::MIN;
const OTHER: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// The machine of a test, which has a thread of its own.
struct Machine {
    lock: Lock<u32, Waiter>,
    spins: SpinBudget,
    cost: SleepCost,
    now: Cell<u64>,
    /// When the other CPU opens the lock; `None`: it doesn't hold it.
    opens_at: Cell<Option<u64>>,
    watches: Cell<bool>,
    turns: Cell<u32>,
    sleeps: Cell<u32>,
    /// How many times a long wait was reported.
    reports: Cell<u32>,
}

std::thread_local! {
    static MACHINE: &'static Machine = {
        let machine = Machine {
            lock: Lock::new(0),
            spins: SpinBudget::new(),
            cost: SleepCost::new(),
            now: Cell::new(0),
            opens_at: Cell::new(None),
            watches: Cell::new(false),
            turns: Cell::new(0),
            sleeps: Cell::new(0),
            reports: Cell::new(0),
        };
        machine.cost.set(SLEEP, TURN * 1024, 4_000_000);
        Box::leak(Box::new(machine))
    };
}

fn machine() -> &'static Machine {
    MACHINE.with(|machine| *machine)
}

impl Machine {
    /// Lets time pass until `at`.
    fn pass(&self, at: u64) {
        self.now.set(at);
        if self.opens_at.get().is_some_and(|opens| opens <= at) {
            self.opens_at.set(None);
            self.lock.word.open();
        }
    }

    /// Has the other CPU hold the lock for `held`, and this one wait for it. Returns how many turns
    /// it spun and how many times it slept.
    fn wait(&self, held: u64) -> (u32, u32) {
        assert!(self.lock.word.try_take(OTHER), "the lock is open");
        self.opens_at.set(Some(self.now.get() + held));
        self.turns.set(0);
        self.sleeps.set(0);
        drop(self.lock.lock());
        assert_eq!(self.opens_at.get(), None, "it was taken when it was open");
        (self.turns.get(), self.sleeps.get())
    }
}

/// The CPU that waits.
struct Waiter;

impl LocalCpu for Waiter {
    fn irq_save() -> IrqFlags {
        IrqFlags(0)
    }
    unsafe fn irq_restore(_: IrqFlags) {}
    unsafe fn irq_enable() {}
    fn irqs_enabled() -> bool {
        false
    }
    fn preempt_disable() {}
    unsafe fn preempt_enable_no_resched() {}
    fn preempt_count() -> u32 {
        1
    }
    fn preempt_point() {}
    fn relax() {
        let machine = machine();
        machine.turns.set(machine.turns.get() + 1);
        machine.pass(machine.now.get() + TURN);
    }
    fn load_watched(_: &AtomicUsize) -> usize {
        machine().watches.set(true);
        machine().lock.word.holder().map_or(0, NonZeroUsize::get)
    }
    fn sleep_until_event() {
        let machine = machine();
        assert!(machine.watches.replace(false), "what would wake it?");
        machine.sleeps.set(machine.sleeps.get() + 1);
        let stream = machine.now.get() + EVENT_PERIOD;
        machine.pass(machine.opens_at.get().unwrap_or(stream).min(stream));
    }
    fn lock_spins() -> Option<&'static SpinBudget> {
        Some(&machine().spins)
    }
    fn ticks() -> u64 {
        machine().now.get()
    }
    fn sleep_cost() -> Option<&'static SleepCost> {
        Some(&machine().cost)
    }
    fn cpu_mark() -> NonZeroUsize {
        ME
    }
    fn spins_long(_: &mut Option<crate::sync::SpinLooks>, holder: NonZeroUsize, lock: &str) {
        assert_eq!((holder, lock), (OTHER, "u32"));
        machine().reports.set(machine().reports.get() + 1);
    }
}

#[test]
fn a_short_wait_ends_in_the_spin() {
    assert_eq!(machine().wait(3 * TURN), (3, 0));
}

#[test]
fn a_long_wait_sleeps_until_the_lock_opens() {
    let few = machine().spins.turns();
    assert_eq!(machine().wait(40_000), (few - 1, 1));
    assert_eq!(machine().reports.get(), 0);
}

#[test]
fn waits_of_a_microsecond_end_in_the_spin_after_a_few_sleeps() {
    let sleeps: u32 = (0..20).map(|_| machine().wait(1000).1).sum();
    assert!((1..=4).contains(&sleeps), "{sleeps}");
    assert_eq!(machine().wait(1000), (50, 0));
}

#[test]
fn a_holder_that_does_not_run_is_not_spun_for() {
    let few = machine().spins.turns();
    for _ in 0..20 {
        machine().wait(1000);
    }
    assert!(machine().spins.turns() > few);
    for _ in 0..4 {
        machine().wait(4_000_000);
    }
    assert_eq!(machine().wait(4_000_000), (few - 1, 62));
}

#[test]
fn a_wait_without_end_is_reported_while_it_sleeps() {
    let (_, sleeps) = machine().wait(2 * u64::from(SLEEPS) * EVENT_PERIOD + 1000);
    assert_eq!(machine().reports.get(), 2);
    assert!(sleeps > 2 * SLEEPS);
}

#[test]
#[should_panic(expected = "BUG: this CPU takes a spin lock of u32 that it holds")]
fn a_lock_of_the_cpus_own_is_found_before_it_sleeps() {
    assert!(machine().lock.word.try_take(ME), "it is open");
    drop(machine().lock.lock());
}
