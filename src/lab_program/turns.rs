//! What forces the order of the steps of an act: each thread waits until it is its turn
//! (`one-may-speak` of [`lab_program`](crate::lab_program)).
//!
//! ```text
//!            is_after(2)                      is_after(2)
//!   writer ──── waits ────┐                 reader ─ says step 1 ─┐
//!                         ▼                                       ▼
//!                 step 2 is said by the keeper ◄── calls GO ── reader
//! ```
//! A thread waits for a number of steps to have been said, or for a *signal*, which is for what
//! is no step. A thread that may not sleep looks again and again.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use crate::api::cpu;
use crate::api::sync::{SpinLock, WaitQueue};
use crate::api::thread::{self, Thread};
use crate::api::time::{self, Instant};
use crate::lab::{Event, Line, Record};
use crate::lab_program::trouble::Trouble;

/// How long an act may take. It takes milliseconds, but a guest may have to wait for its host.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// How long a thread sleeps between two looks at another one.
const LOOK: Duration = Duration::from_millis(1);

/// The act was given up: the thread has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenUp;

/// What is said without a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signal(pub(super) u32);

/// A lock of a protocol that this kernel hasn't. The lock validator of a debug build doesn't know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lock(pub(super) u32);

/// A thread that waits for something of the kernel's, and is seen asleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sleeper(pub(super) usize);

/// The most sleepers of an act.
const SLEEPERS: usize = 2;

/// The order of an act.
pub(super) struct Turns {
    /// Never held for longer than a step takes to note, and taken in still points too.
    state: SpinLock<State>,
    changed: WaitQueue,
    limit: Instant,
}

struct State {
    /// No step is done before all threads are there.
    begun: bool,
    record: Record,
    /// A bit for each signal that was given.
    signals: u32,
    /// A bit for each lock that is taken.
    locks: u32,
    /// Each sleeper, and how often it had slept when it said that it would wait.
    sleepers: [Option<(Thread, u64)>; SLEEPERS],
    /// How many threads have ended.
    ended: usize,
    given_up: Option<Trouble>,
}

impl Turns {
    /// Returns the order of an act that has not begun.
    pub(super) fn new() -> Turns {
        Turns {
            state: SpinLock::new(State {
                begun: false,
                record: Record::new(),
                signals: 0,
                locks: 0,
                sleepers: [const { None }; SLEEPERS],
                ended: 0,
                given_up: None,
            }),
            changed: WaitQueue::new(),
            limit: time::deadline(LIMIT),
        }
    }

    /// Returns when the act is given up.
    pub(super) fn limit(&self) -> Instant {
        self.limit
    }

    /// Changes the state, and wakes the threads that wait for it to change.
    fn change<R>(&self, change_fn: impl FnOnce(&mut State) -> R) -> R {
        let result = change_fn(&mut self.state.lock_irqsave());
        self.changed.wake_all();
        result
    }

    /// Begins the act.
    pub(super) fn begin(&self) {
        self.change(|state| state.begun = true);
    }

    /// Says a step.
    ///
    /// # Context
    /// Any but a still point; on the CPU on which the step is done.
    pub(super) fn say(&self, line: Line) {
        self.change(|state| state.record.add(cpu::current(), line));
    }

    /// Says a step, and wakes no thread: for a still point. The next step wakes them.
    ///
    /// # Context
    /// Any.
    pub(super) fn say_still(&self, line: Line) {
        let mut state = self.state.lock_irqsave();
        state.record.add(cpu::current(), line);
    }

    /// Gives a signal.
    ///
    /// # Context
    /// Any but a still point.
    pub(super) fn signal(&self, signal: Signal) {
        self.change(|state| state.signals |= 1 << signal.0);
    }

    /// Says a step and gives a signal, both at once.
    ///
    /// # Context
    /// As [`Turns::say`].
    pub(super) fn say_and_signal(&self, line: Line, signal: Signal) {
        self.change(|state| {
            state.record.add(cpu::current(), line);
            state.signals |= 1 << signal.0;
        });
    }

    /// Returns how many steps were said.
    ///
    /// # Context
    /// Any.
    pub(super) fn steps(&self) -> usize {
        self.state.lock_irqsave().record.len()
    }

    /// Waits until `steps` steps were said. The thread called `name` waits.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// [`GivenUp`].
    pub(super) fn after(&self, name: &str, steps: usize) -> Result<(), GivenUp> {
        let what = format_args!("step {steps}");
        self.wait(name, what, |state| state.record.len() >= steps)
    }

    /// Waits until `signal` was given. The thread called `name` waits.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// [`GivenUp`].
    pub(super) fn wait_for(&self, name: &str, signal: Signal) -> Result<(), GivenUp> {
        let what = format_args!("signal {}", signal.0);
        self.wait(name, what, |state| state.signals & 1 << signal.0 != 0)
    }

    /// Looks for `signal` again and again until it was given, and calls `between_fn` between two
    /// looks. The thread called `name` waits.
    ///
    /// # Context
    /// Thread; preemption may be off.
    ///
    /// # Errors
    /// [`GivenUp`].
    pub(super) fn look_for(
        &self,
        name: &str,
        signal: Signal,
        between_fn: impl Fn(),
    ) -> Result<(), GivenUp> {
        loop {
            let state = self.state.lock_irqsave();
            if state.given_up.is_some() {
                return Err(GivenUp);
            }
            if state.signals & 1 << signal.0 != 0 {
                return Ok(());
            }
            drop(state);
            if time::now() >= self.limit {
                self.give_up(Trouble::Stuck(format!(
                    "the {name} has looked in vain for signal {}",
                    signal.0
                )));
                return Err(GivenUp);
            }
            between_fn();
        }
    }

    /// Takes `lock`; waits until it is free, but not once `unless` was given. Returns whether it
    /// was taken. The thread called `name` waits.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// [`GivenUp`].
    pub(super) fn lock_unless(
        &self,
        name: &str,
        lock: Lock,
        unless: Option<Signal>,
    ) -> Result<bool, GivenUp> {
        let mut took = false;
        self.wait(name, format_args!("lock {}", lock.0), |state| {
            took = state.locks & 1 << lock.0 == 0;
            if took {
                state.locks |= 1 << lock.0;
            }
            took || unless.is_some_and(|signal| state.signals & 1 << signal.0 != 0)
        })?;
        Ok(took)
    }

    /// Opens `lock`, which the caller has taken.
    ///
    /// # Context
    /// Any but a still point.
    pub(super) fn unlock(&self, lock: Lock) {
        self.change(|state| state.locks &= !(1 << lock.0));
    }

    /// Says a step: the calling thread is `sleeper`, and will wait for something of the kernel's.
    ///
    /// # Context
    /// Thread.
    pub(super) fn say_and_wait(&self, sleeper: Sleeper, line: Line) {
        let me = thread::current();
        let waits = me.usage().waits;
        let mut slept = Some((me, waits));
        self.change(|state| {
            state.record.add(cpu::current(), line);
            core::mem::swap(&mut state.sleepers[sleeper.0], &mut slept);
        });
    }

    /// Waits until `sleeper` has gone to sleep, behind what it has said. The thread called `name` waits.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// [`GivenUp`].
    pub(super) fn until_asleep(&self, name: &str, sleeper: Sleeper) -> Result<(), GivenUp> {
        let what = format_args!("sleeper {}", sleeper.0);
        self.wait(name, what, |state| state.sleepers[sleeper.0].is_some())?;
        loop {
            let slept = self.state.lock_irqsave().sleepers[sleeper.0].clone();
            let is_asleep = slept.is_some_and(|(thread, waits)| thread.usage().waits > waits);
            if is_asleep {
                return Ok(());
            }
            if self.given_up_within(LOOK) {
                return Err(GivenUp);
            }
            if time::now() >= self.limit {
                self.give_up(Trouble::Stuck(format!(
                    "the {name} has waited in vain for {what}"
                )));
                return Err(GivenUp);
            }
        }
    }

    /// Waits for `time`, or until the act is given up; returns whether it was.
    fn given_up_within(&self, time: Duration) -> bool {
        let is_over = || self.state.lock_irqsave().given_up.is_some();
        self.changed.wait_until(time::deadline(time), is_over)
    }

    fn wait(
        &self,
        name: &str,
        what: core::fmt::Arguments<'_>,
        mut is_there_fn: impl FnMut(&mut State) -> bool,
    ) -> Result<(), GivenUp> {
        let is_over = || {
            let mut state = self.state.lock_irqsave();
            state.given_up.is_some() || (state.begun && is_there_fn(&mut state))
        };
        if !self.changed.wait_until(self.limit, is_over) {
            self.give_up(Trouble::Stuck(format!(
                "the {name} has waited in vain for {what}"
            )));
        }
        match self.state.lock_irqsave().given_up {
            Some(_) => Err(GivenUp),
            None => Ok(()),
        }
    }

    /// Gives the act up because of `why`, unless it was before: each wait ends (`waits-end` of
    /// [`lab_program`](crate::lab_program)).
    ///
    /// # Context
    /// Any but a still point.
    pub(super) fn give_up(&self, why: Trouble) {
        self.change(|state| {
            state.given_up.get_or_insert(why);
        });
    }

    /// Says that a thread of the act has ended.
    pub(super) fn end(&self) {
        self.change(|state| state.ended += 1);
    }

    /// Waits until `threads` threads have ended, but no longer than until `at`. Returns whether
    /// they have.
    ///
    /// # Context
    /// Thread, preemption on.
    pub(super) fn wait_ended(&self, threads: usize, at: Instant) -> bool {
        let is_over = || self.state.lock_irqsave().ended >= threads;
        self.changed.wait_until(at, is_over)
    }

    /// Returns the steps.
    ///
    /// # Errors
    /// The act was given up.
    pub(super) fn finish(&self) -> Result<Vec<Event>, Trouble> {
        let mut state = self.state.lock_irqsave();
        match state.given_up.take() {
            Some(why) => Err(why),
            None => Ok(state.record.take()),
        }
    }
}
