//! The walk along the table, in either direction, and the counters it keeps.
//!
//! Pure: the table and its context are parameters, so host tests walk tables of
//! their own through the code that ships.
//!
//! # Rules
//! - Up: advance `state`, then run the startup. Down: decrement `state`, then run
//!   the teardown. A step that fails counts as not passed.
//! - A side without a callback is passed silently, and counts as passed.
//! - An injected failure is tested *before* the callback, fires once, and clears
//!   itself.
//! - Turning round is the caller's: [`Walker::up`] and [`Walker::down`] walk one
//!   way and say where they stopped.

use alloc::boxed::Box;

use crate::hotplug::{Step, StepError};
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::trace::Direction;

/// No failure is to be injected.
const NO_FAIL: usize = usize::MAX;

/// How far one CPU has come, and how often it has passed each step.
///
/// Written by the owner of the walk (`one-writer-of-state` of
/// [`hotplug`](crate::hotplug)), read by any thread for display. All
/// accesses are Relaxed: what hands the walk over to its next owner orders them, as stated
/// there.
pub struct CpuhpState {
    /// How many steps of the table are up.
    state: AtomicUsize,
    /// The step at which the next passage fails, or `NO_FAIL`.
    fail: AtomicUsize,
    passages: Box<[Passages]>,
}

struct Passages {
    up: AtomicU32,
    down: AtomicU32,
}

impl CpuhpState {
    /// Makes the state of an offline CPU, with a counter for each of `steps` steps.
    pub fn new(steps: usize) -> CpuhpState {
        CpuhpState {
            state: AtomicUsize::new(0),
            fail: AtomicUsize::new(NO_FAIL),
            passages: (0..steps)
                .map(|_| Passages {
                    up: AtomicU32::new(0),
                    down: AtomicU32::new(0),
                })
                .collect(),
        }
    }

    /// Returns how many steps of the table are up: 0 is offline.
    pub fn state(&self) -> usize {
        self.state.load(Ordering::Relaxed)
    }

    /// Returns how often `step` was passed on the way up, and on the way down.
    pub fn passages(&self, step: usize) -> (u32, u32) {
        let passages = &self.passages[step];
        (
            passages.up.load(Ordering::Relaxed),
            passages.down.load(Ordering::Relaxed),
        )
    }

    /// Returns whether the passages agree with the state (`passages-balance` of
    /// [`hotplug`](crate::hotplug)). For the owner of the walk, at rest.
    pub fn is_balanced(&self) -> bool {
        (0..self.passages.len()).all(|step| {
            let (up, down) = self.passages(step);
            up.checked_sub(down) == Some(u32::from(step < self.state()))
        })
    }

    /// Makes the next passage of `step` fail once, or none with `None`.
    pub fn inject(&self, step: Option<usize>) {
        self.fail.store(step.unwrap_or(NO_FAIL), Ordering::Relaxed);
    }

    /// Returns the step at which a failure is to be injected.
    pub fn injected(&self) -> Option<usize> {
        let step = self.fail.load(Ordering::Relaxed);
        (step != NO_FAIL).then_some(step)
    }

    fn take_injected(&self, step: usize) -> bool {
        let hit = self.injected() == Some(step);
        if hit {
            self.inject(None);
        }
        hit
    }
}

/// A step has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkError {
    /// Its index in the table.
    pub step: usize,
    /// What it said.
    pub error: StepError,
}

/// Walks one CPU along a table.
pub struct Walker<'a, C, T> {
    /// The table.
    pub steps: &'a [Step<C>],
    /// The CPU's state.
    pub state: &'a CpuhpState,
    /// What the callbacks are told.
    pub context: &'a C,
    /// Told of each passage: step, direction, and `None` before the callback or
    /// whether it succeeded after it.
    pub trace_fn: T,
}

impl<C, T: FnMut(usize, Direction, Option<bool>)> Walker<'_, C, T> {
    /// Walks up until `target` steps are up.
    ///
    /// # Errors
    /// The step that failed, which counts as not passed: `state` says how far the walk came.
    pub fn up(&mut self, target: usize) -> Result<(), WalkError> {
        while self.state.state() < target {
            let step = self.state.state();
            self.state.state.store(step + 1, Ordering::Relaxed);
            if let Err(error) = self.pass(step, Direction::Up) {
                self.state.state.store(step, Ordering::Relaxed);
                return Err(WalkError { step, error });
            }
        }
        Ok(())
    }

    /// Walks down until `target` steps are up.
    ///
    /// # Errors
    /// The step that failed, which counts as not passed: `state` says how far the walk came.
    pub fn down(&mut self, target: usize) -> Result<(), WalkError> {
        while self.state.state() > target {
            let step = self.state.state() - 1;
            self.state.state.store(step, Ordering::Relaxed);
            if let Err(error) = self.pass(step, Direction::Down) {
                self.state.state.store(step + 1, Ordering::Relaxed);
                return Err(WalkError { step, error });
            }
        }
        Ok(())
    }

    fn pass(&mut self, step: usize, direction: Direction) -> Result<(), StepError> {
        let side = match direction {
            Direction::Up => &self.steps[step].startup,
            Direction::Down => &self.steps[step].teardown,
        };
        (self.trace_fn)(step, direction, None);
        let result = if side.may_fail() && self.state.take_injected(step) {
            Err(StepError::Injected)
        } else {
            side.run(self.context)
        };
        (self.trace_fn)(step, direction, Some(result.is_ok()));
        if result.is_ok() {
            let passages = &self.state.passages[step];
            let counter = match direction {
                Direction::Up => &passages.up,
                Direction::Down => &passages.down,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}
