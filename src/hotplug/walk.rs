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
//! - An empty slot is passed over, and counts as passed.
//! - Of a step with several instances, each is up or not. A walk that fails at one of them
//!   leaves the CPU *within* the step, if some are up and others not: `state` counts the
//!   step then, and the next walk, in either direction, first completes it in its own
//!   direction. So turning round undoes only the instances that were passed.
//! - Turning round is the caller's: [`Walker::up`] and [`Walker::down`] walk one
//!   way and say where they stopped.

use alloc::boxed::Box;

use crate::hotplug::passages::Passages;
use crate::hotplug::{Step, StepError};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::trace::Direction;

/// No failure is to be injected.
const NO_FAIL: usize = usize::MAX;
/// Bit of the state's word: the last row that is up is up in part.
const WITHIN: usize = 1 << 16;
/// The lowest bit of the instance's number in the word of an injected failure. The row is in
/// the bits below it.
const INSTANCE_SHIFT: u32 = 16;

/// How far one CPU has come, and how often it has passed each step.
///
/// Written by the owner of the walk (`one-writer-of-state` of
/// [`hotplug`](crate::hotplug)), read by any thread for display. All
/// accesses are Relaxed: what hands the walk over to its next owner orders them, as stated
/// there.
pub struct CpuhpState {
    /// How many rows of the table are up, and [`WITHIN`].
    state: AtomicUsize,
    /// The row and instance at which the next passage fails, or `NO_FAIL`.
    fail: AtomicUsize,
    /// By row. Slots count in the instances of their steps.
    passages: Box<[Passages]>,
}

impl CpuhpState {
    /// Makes the state of an offline CPU, for a table of `rows` rows.
    pub fn new(rows: usize) -> CpuhpState {
        CpuhpState {
            state: AtomicUsize::new(0),
            fail: AtomicUsize::new(NO_FAIL),
            passages: (0..rows).map(|_| Passages::default()).collect(),
        }
    }

    /// Returns how many rows of the table are up: 0 is offline.
    pub fn state(&self) -> usize {
        self.state.load(Ordering::Relaxed) & !WITHIN
    }

    /// Returns whether of the last step that is up only some instances are.
    pub fn is_within(&self) -> bool {
        self.state.load(Ordering::Relaxed) & WITHIN != 0
    }

    fn set(&self, state: usize, within: bool) {
        let word = if within { state | WITHIN } else { state };
        self.state.store(word, Ordering::Relaxed);
    }

    /// Has a CPU that was left within the step in slot `row` not be within it any more: the step
    /// is removed. For the owner of the walk, at rest.
    pub(super) fn forget_step(&self, row: usize) {
        if self.is_within() && self.state() == row + 1 {
            self.set(row + 1, false);
        }
    }

    /// Returns how often `step`, which isn't a slot, was passed on the way up, and on the way
    /// down.
    pub fn passages(&self, step: usize) -> (u32, u32) {
        self.passages[step].get()
    }

    /// Returns whether the passages of the rows that `is_counted_fn` names agree with the
    /// state (`passages-balance` of [`hotplug`](crate::hotplug)). For the owner of the walk,
    /// at rest.
    pub fn is_balanced(&self, is_counted_fn: impl Fn(usize) -> bool) -> bool {
        (0..self.passages.len()).all(|step| {
            let (up, down) = self.passages(step);
            let wanted = u32::from(step < self.state());
            !is_counted_fn(step) || up.checked_sub(down) == Some(wanted)
        })
    }

    /// Makes the next passage of `step`, by its first instance, fail once, or none with
    /// `None`.
    pub fn inject(&self, step: Option<usize>) {
        self.fail.store(step.unwrap_or(NO_FAIL), Ordering::Relaxed);
    }

    /// Makes the next passage of `step` by its instance number `instance` fail once.
    pub fn inject_at(&self, step: usize, instance: usize) {
        self.inject(Some(step | instance << INSTANCE_SHIFT));
    }

    /// Returns the step at which a failure is to be injected.
    pub fn injected(&self) -> Option<usize> {
        let fail = self.fail.load(Ordering::Relaxed);
        (fail != NO_FAIL).then_some(fail & ((1 << INSTANCE_SHIFT) - 1))
    }

    pub(super) fn take_injected(&self, step: usize, instance: usize) -> bool {
        let hit = self.fail.load(Ordering::Relaxed) == step | instance << INSTANCE_SHIFT;
        if hit {
            self.inject(None);
        }
        hit
    }
}

/// A step has failed, or has ended too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkError {
    /// Its index in the table.
    pub step: usize,
    /// What it said.
    pub error: StepError,
}

/// A step in a slot has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotError {
    /// What it said.
    pub error: StepError,
    /// Whether some of its instances are up now and others not.
    pub is_half: bool,
}

/// The slots of a table, as a walk sees them.
pub trait SlotRows<C> {
    /// Returns the first row from `from` on that isn't an empty slot; the number of rows if
    /// none is left.
    fn stop_from(&self, from: usize) -> usize;

    /// Returns the last row below `below` that isn't an empty slot.
    fn stop_below(&self, below: usize) -> Option<usize>;

    /// Passes the step in slot `row`, all of whose instances are where `direction` leads
    /// afterwards.
    ///
    /// # Errors
    /// The first instance that failed; those after it were not asked.
    fn pass(
        &self,
        row: usize,
        direction: Direction,
        state: &CpuhpState,
        context: &C,
    ) -> Result<(), SlotError>;
}

/// Walks one CPU along a table.
pub struct Walker<'a, C, S, T> {
    /// The table.
    pub steps: &'a [Step<C>],
    /// Its slots.
    pub slots: &'a S,
    /// The CPU's state.
    pub state: &'a CpuhpState,
    /// What the callbacks are told.
    pub context: &'a C,
    /// Told of each passage: step, direction, and `None` before the callback or
    /// whether it succeeded after it.
    pub trace_fn: T,
}

impl<C, S: SlotRows<C>, T: FnMut(usize, Direction, Option<bool>)> Walker<'_, C, S, T> {
    /// Walks up until `target` steps are up. A step that is up in part is completed first.
    ///
    /// # Errors
    /// The step that failed, which counts as not passed: `state` says how far the walk came.
    pub fn up(&mut self, target: usize) -> Result<(), WalkError> {
        loop {
            let mut step = self.state.state();
            if self.state.is_within() {
                step -= 1;
            } else if step >= target {
                return Ok(());
            } else if self.steps[step].is_slot() {
                step = self.slots.stop_from(step);
                if step >= target {
                    self.state.set(target, false);
                    return Ok(());
                }
            }
            self.pass(step, Direction::Up)?;
        }
    }

    /// Walks down until `target` steps are up.
    ///
    /// # Errors
    /// The step that failed, which counts as not passed: `state` says how far the walk came.
    pub fn down(&mut self, target: usize) -> Result<(), WalkError> {
        self.down_while(target, || true)
    }

    /// Walks down until `target` steps are up, as long as `go_on_fn` returns true after each
    /// step.
    ///
    /// # Errors
    /// As [`Walker::down`], or [`StepError::Late`] with the last step that was passed.
    pub fn down_while(
        &mut self,
        target: usize,
        go_on_fn: impl Fn() -> bool,
    ) -> Result<(), WalkError> {
        loop {
            let up = self.state.state();
            if up <= target {
                return Ok(());
            }
            let mut step = up - 1;
            if self.steps[step].is_slot() {
                let below = self.slots.stop_below(up);
                let Some(stop) = below.filter(|stop| *stop >= target) else {
                    self.state.set(target, false);
                    return Ok(());
                };
                step = stop;
            }
            self.pass(step, Direction::Down)?;
            if !go_on_fn() {
                let error = StepError::Late;
                return Err(WalkError { step, error });
            }
        }
    }

    /// Moves the state past `step`, passes it, and moves the state back if that fails.
    #[inline(always)] // Into the loops: registers are saved once for a walk, not for each step.
    fn pass(&mut self, step: usize, direction: Direction) -> Result<(), WalkError> {
        let row = &self.steps[step];
        let after = match direction {
            Direction::Up => step + 1,
            Direction::Down => step,
        };
        self.state.set(after, false);
        (self.trace_fn)(step, direction, None);
        let failed = if row.is_slot() {
            let passed = self.slots.pass(step, direction, self.state, self.context);
            passed.err()
        } else {
            let passed = self.call(row, step, direction);
            passed.err().map(|error| SlotError {
                error,
                is_half: false,
            })
        };
        (self.trace_fn)(step, direction, Some(failed.is_none()));
        match failed {
            None => Ok(()),
            Some(failed) => Err(self.turn_round(step, direction, failed)),
        }
    }

    /// Moves the state to where `step` has failed.
    #[cold]
    fn turn_round(&self, step: usize, direction: Direction, failed: SlotError) -> WalkError {
        let SlotError { error, is_half } = failed;
        let state = if is_half || direction == Direction::Down {
            step + 1
        } else {
            step
        };
        self.state.set(state, is_half);
        WalkError { step, error }
    }

    #[inline]
    fn call(&self, row: &Step<C>, step: usize, direction: Direction) -> Result<(), StepError> {
        let side = match direction {
            Direction::Up => &row.startup,
            Direction::Down => &row.teardown,
        };
        if side.may_fail() && self.state.take_injected(step, 0) {
            return Err(StepError::Injected);
        }
        side.run(self.context)?;
        self.state.passages[step].count(direction);
        Ok(())
    }
}
