//! Commands that run another one: `time`, `repeat`, `watch`, `taskset`.
//!
//! They may stand one inside the other, as often as a line has room: `time repeat 2 stop`. The
//! shell's stack is small, so that the commands don't call each other. Each is a [`Wrapper`],
//! which says what comes next; a list in the heap holds those that have begun and not ended.
//!
//! ```text
//!   time ── Next::Run ──▶ repeat 2 ── Next::Run ──▶ stop
//!    ▲                     ▲  │                       │ outcome
//!    │      outcome        │  └──── Next::Run ──▶     │
//!    └──── Next::End ──────┴──────────────────────────┘
//! ```
//!
//! # Invariants
//! - **stays-flat**: how deep the stack gets doesn't depend on how many commands stand one inside the
//!   other, neither when they run nor when they are completed.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::command::{Ran, run_one};
use super::machine::Machine;
use super::status::{Outcome, Status};

/// A command that has begun, and runs another one.
pub(super) trait Wrapper<M: Machine> {
    /// Returns what comes next. `ended` is how the command behind it has ended, or `None` if that
    /// hasn't run yet.
    fn next(&mut self, machine: &M, ended: Option<Outcome>) -> Next;
}

/// What a [`Wrapper`] wants next.
pub(super) enum Next {
    /// The command behind it runs, from its beginning.
    Run,
    /// It has ended so.
    End(Outcome),
}

/// How a command that runs another one has begun.
pub(super) enum Begun<M: Machine> {
    /// It was wrong, or has done without the other one.
    Ended(Outcome),
    /// It goes on.
    Wraps(Box<dyn Wrapper<M>>),
}

impl<M: Machine> Begun<M> {
    /// Returns the beginning of `wrapper`.
    pub(super) fn wraps(wrapper: impl Wrapper<M> + 'static) -> Begun<M> {
        Begun::Wraps(Box::new(wrapper))
    }
}

/// A command that has begun and not ended, and the command that it runs.
type Outer<'w, M> = (Box<dyn Wrapper<M>>, &'w [&'w str]);

/// Runs the command that `words` are, with all that it runs; `last` is the status of the one
/// before it in its line.
pub(super) fn run_words<M: Machine>(machine: &M, words: &[&str], last: Status) -> Outcome {
    // (stays-flat)
    let mut around: Vec<Outer<'_, M>> = Vec::new();
    let mut next = words;
    loop {
        let mut ended = match run_one(machine, next, last) {
            Ran::Ended(outcome) => Some(outcome),
            Ran::Wraps(wrapper, command) => {
                around.push((wrapper, command));
                None
            }
        };
        next = loop {
            let Some((wrapper, command)) = around.last_mut() else {
                return ended.unwrap_or(Outcome::Continue(Status::SUCCESS));
            };
            match wrapper.next(machine, ended) {
                Next::Run => break *command,
                Next::End(outcome) => {
                    around.pop();
                    ended = Some(outcome);
                }
            }
        };
    }
}
