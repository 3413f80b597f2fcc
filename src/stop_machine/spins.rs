//! How long the waits of a stop spin before they sleep. Each kind of wait learns by itself: to
//! come takes a CPU an interrupt and a switch, to acknowledge only a few instructions, and the
//! function as long as it likes.

#![forbid(unsafe_code)]

use crate::sync::SpinBudget;
use crate::sync::atomic::{AtomicBool, Ordering};

/// How long the waits of all stops spin.
pub(super) struct StopSpins {
    of_two: StateSpins,
    of_more: StateSpins,
    of_one: SpinBudget,
    /// Whether a test has set how long. Relaxed: a setting that orders nothing.
    is_set: AtomicBool,
    set: StateSpins,
}

/// How long the waits of one stop spin, by what they wait for.
pub(super) struct StateSpins {
    /// That all come.
    pub(super) arrival: SpinBudget,
    /// A runner: that it may run the function.
    pub(super) run: SpinBudget,
    /// That all runners have run the function.
    pub(super) exit: SpinBudget,
    /// The caller: that all have left.
    pub(super) end: SpinBudget,
}

impl StateSpins {
    fn new(budget_fn: fn() -> SpinBudget) -> Self {
        StateSpins {
            arrival: budget_fn(),
            run: budget_fn(),
            exit: budget_fn(),
            end: budget_fn(),
        }
    }
}

impl StopSpins {
    pub(super) fn new() -> Self {
        StopSpins {
            of_two: StateSpins::new(SpinBudget::of_pair),
            of_more: StateSpins::new(SpinBudget::new),
            of_one: SpinBudget::of_thread(),
            is_set: AtomicBool::new(false),
            set: StateSpins::new(SpinBudget::fixed),
        }
    }

    /// Sets the turns of all waits, for tests. With `None` they are again what was learnt.
    pub(super) fn set(&self, turns: Option<u32>) {
        if let Some(turns) = turns {
            let StateSpins {
                arrival,
                run,
                exit,
                end,
            } = &self.set;
            for budget in [arrival, run, exit, end] {
                budget.set(turns);
            }
        }
        self.is_set.store(turns.is_some(), Ordering::Relaxed);
    }

    /// Returns how the waits of a stop of `count` CPUs spin. In a stop of two the other CPU is all
    /// there is to wait for.
    pub(super) fn of(&self, count: usize) -> &StateSpins {
        if self.is_set() {
            &self.set
        } else if count == 2 {
            &self.of_two
        } else {
            &self.of_more
        }
    }

    /// Returns how the caller of a stop of one CPU spins.
    pub(super) fn of_one(&self) -> &SpinBudget {
        if self.is_set() {
            &self.set.end
        } else {
            &self.of_one
        }
    }

    fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }
}
