//! The barrier of a stop: one state word, one count of acknowledgements.
//!
//! # States
//! ```text
//!              (1)                 (1)          (1)
//!   PREPARE ────────► DISABLE_IRQ ─────► RUN ────────► EXIT
//!   n acks            n acks             runners acks
//! ```
//! and, beside it, the participants leave: [`MultiStop::leave`], each as its last
//! access, until [`MultiStop::is_over`].
//!
//! (1) [`MultiStop::ack`] says to the last one "publish"; it then calls
//! [`MultiStop::publish`], through the wait point, so that sleepers wake.
//!
//! # Invariants
//! - **acks-once**: a CPU acknowledges each state at most once, and only after it has
//!   seen it published (PREPARE is published from the start). Only CPUs that run `fn`
//!   acknowledge RUN.
//! - **count-before-state**: the count is reset for the next state *before* that is
//!   published: a CPU that sees the new state finds the new count.
//! - **published-once**: a state is published once, by the last to acknowledge the one
//!   before.
//! - **leave-is-last**: the owner of the barrier may free it, and all that the
//!   participants used with it, once it is over: `leave` is a participant's last
//!   access.
//!
//! # Memory ordering
//! Each acknowledgement is AcqRel on one word, so the last one has seen all that
//! the others did before theirs; it publishes with Release, and every CPU reads
//! the state with Acquire. So all that any CPU did before it arrived is visible
//! to `fn`, and all that `fn` did is visible to every CPU after EXIT. Leaving is a
//! Release on a word of its own, and every decrement continues the release
//! sequences of those before it; the owner reads it with Acquire. So every
//! access of a participant to the owner's frame happens before the frame is freed.
//!
//! `tests/loom_multi_stop.rs` model-checks this file.

#![forbid(unsafe_code)]

use crate::sync::atomic::{AtomicU32, Ordering};

/// A state of a stop: what every CPU that takes part has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum MultiStopState {
    /// The stoppers arrive, IRQs on.
    Prepare = 1,
    /// All have arrived; IRQs go off.
    DisableIrq = 2,
    /// All have IRQs off: the still point. `fn` runs.
    Run = 3,
    /// `fn` has run everywhere it should.
    Exit = 4,
}

impl MultiStopState {
    #[inline]
    fn from_word(word: u32) -> MultiStopState {
        match word {
            1 => MultiStopState::Prepare,
            2 => MultiStopState::DisableIrq,
            3 => MultiStopState::Run,
            4 => MultiStopState::Exit,
            _ => no_state(word),
        }
    }

    /// Returns the state after this one; EXIT is the last.
    const fn next(self) -> MultiStopState {
        match self {
            MultiStopState::Prepare => MultiStopState::DisableIrq,
            MultiStopState::DisableIrq => MultiStopState::Run,
            MultiStopState::Run | MultiStopState::Exit => MultiStopState::Exit,
        }
    }
}

/// Out of line, so that the states, which each CPU polls, cost a comparison.
#[cold]
#[inline(never)]
fn no_state(word: u32) -> ! {
    panic!("BUG: {word} is no state of a stop");
}

/// What an acknowledgement amounted to.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// Other CPUs have not acknowledged yet.
    More,
    /// This CPU was the last: it publishes this state.
    Last(MultiStopState),
}

/// The barrier of one stop.
#[derive(Debug)]
pub struct MultiStop {
    /// Stored Release in [`MultiStop::publish`], loaded Acquire in
    /// [`MultiStop::state`].
    state: AtomicU32,
    /// Acknowledgements that the current state still waits for. Counted down
    /// AcqRel in [`MultiStop::ack`]; reset Relaxed there, ordered by the Release
    /// store of the state (count-before-state).
    left: AtomicU32,
    /// Participants that have not left. Counted down Release in
    /// [`MultiStop::leave`], loaded Acquire in [`MultiStop::is_over`] (leave-is-last).
    staying: AtomicU32,
    participants: u32,
    runners: u32,
}

impl MultiStop {
    /// Returns a stop of `participants` CPUs, of which `runners` run the function.
    ///
    /// # Panics
    /// If no CPU would run the function, or more CPUs than take part.
    pub fn new(participants: u32, runners: u32) -> MultiStop {
        assert!(
            (1..=participants).contains(&runners),
            "BUG: {runners} of {participants} CPUs run the function of a stop"
        );
        MultiStop {
            state: AtomicU32::new(MultiStopState::Prepare as u32),
            left: AtomicU32::new(participants),
            staying: AtomicU32::new(participants),
            participants,
            runners,
        }
    }

    /// Returns the state that was published last.
    #[inline]
    pub fn state(&self) -> MultiStopState {
        MultiStopState::from_word(self.state.load(Ordering::Acquire))
    }

    /// Acknowledges `seen`, the state that this CPU has reached (acks-once).
    #[inline]
    pub fn ack(&self, seen: MultiStopState) -> Acked {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return Acked::More;
        }
        let next = seen.next();
        let count = if next == MultiStopState::Run {
            self.runners
        } else {
            self.participants
        };
        self.left.store(count, Ordering::Relaxed);
        Acked::Last(next)
    }

    /// Leaves the stop, after EXIT: a participant's last access to the barrier and to
    /// what its owner lent with it (leave-is-last). Returns whether it was the last participant.
    #[inline]
    #[must_use]
    pub fn leave(&self) -> bool {
        self.staying.fetch_sub(1, Ordering::Release) == 1
    }

    /// Returns whether every participant has left.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.staying.load(Ordering::Acquire) == 0
    }

    /// Publishes `next`, which [`MultiStop::ack`] returned (published-once).
    #[inline]
    pub fn publish(&self, next: MultiStopState) {
        self.state.store(next as u32, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_cpu_walks_through_alone() {
        let stop = MultiStop::new(1, 1);
        for state in [
            MultiStopState::Prepare,
            MultiStopState::DisableIrq,
            MultiStopState::Run,
        ] {
            assert_eq!(stop.state(), state);
            assert_eq!(stop.ack(state), Acked::Last(state.next()));
            stop.publish(state.next());
        }
        assert_eq!(stop.state(), MultiStopState::Exit);
        assert!(!stop.is_over());
        assert!(stop.leave());
        assert!(stop.is_over());
    }

    #[test]
    fn only_runners_acknowledge_run() {
        let stop = MultiStop::new(3, 1);
        for state in [MultiStopState::Prepare, MultiStopState::DisableIrq] {
            assert_eq!(stop.ack(state), Acked::More);
            assert_eq!(stop.ack(state), Acked::More);
            assert_eq!(stop.ack(state), Acked::Last(state.next()));
            stop.publish(state.next());
        }
        assert_eq!(
            stop.ack(MultiStopState::Run),
            Acked::Last(MultiStopState::Exit)
        );
    }

    #[test]
    #[should_panic(expected = "BUG")]
    fn a_stop_that_nobody_runs_is_refused() {
        let _ = MultiStop::new(2, 0);
    }
}
