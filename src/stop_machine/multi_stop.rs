//! The barrier of a stop: one state word, one count of acknowledgements.
//!
//! # States
//! ```text
//!          (3)            (1)                 (1)          (1)
//!   FLUSH ─────► PREPARE ────────► DISABLE_IRQ ─────► RUN ────────► EXIT
//!     │             │    n acks                n acks     runners acks
//!     │ (2)         │ (2)
//!     └─────────────┴────► ABORT
//! ```
//! and, beside it, the participants leave: [`MultiStop::leave`], each as its last
//! access, until [`MultiStop::is_over`].
//!
//! (1) [`MultiStop::ack`] says to the last one "publish"; it then calls
//! [`MultiStop::publish`], through the wait point, so that sleepers wake. DISABLE_IRQ it publishes by
//! [`MultiStop::disable_irq`], unless (2) came first, and wakes only those that it can't acknowledge
//! for ([`MultiStop::ack_for`], `resting`).
//!
//! (2) [`MultiStop::abort`], by a deadline or a cancel: it decides that the stop is given up. What
//! calls it, and what it does for the CPUs, is `give_up`.
//!
//! (3) [`MultiStop::flushed`], in a stop that begins with a flush of preempted threads, by the
//! CPU that was the last to finish it. All other stops begin in PREPARE.
//!
//! # Invariants
//! - **acks-once**: a CPU acknowledges each state at most once, and only after it has
//!   seen it published (PREPARE is published before any works are queued). DISABLE_IRQ may be
//!   acknowledged for it, by the CPU that has published it. Only CPUs that run `fn` acknowledge
//!   RUN.
//! - **count-before-state**: the count is reset for the next state *before* that is
//!   published: a CPU that sees the new state finds the new count.
//! - **published-once**: a state is published once, by the last to acknowledge the one
//!   before. ABORT is published by what gives the stop up, and PREPARE, after FLUSH, by the last to
//!   finish the flush.
//! - **one-way-out-of-prepare**: PREPARE ends by a compare-exchange, to DISABLE_IRQ or to
//!   ABORT. So either `fn` runs, or no CPU has masked IRQs. The last CPU to arrive may lose: then it
//!   has arrived, and the stop is given up all the same.
//! - **one-way-out-of-flush**: FLUSH ends by a compare-exchange, to PREPARE or to ABORT. So
//!   either the works are queued, or no stopper ever hears of the stop.
//! - **leave-is-last**: the owner of the barrier may free it, and all that the
//!   participants used with it, once it is over: `leave` is a participant's last
//!   access. What queues the participants' works, a thread or the last CPU to finish a flush,
//!   counts as one more, and leaves after it has queued the last.
//! - **taken-leaves-too**: a work that is taken back leaves for its participant
//!   ([`MultiStop::leave_for`]). So a stop that is given up is over, too.
//!
//! # Memory ordering
//! Each acknowledgement is AcqRel on one word, so the last one has seen all that
//! the others did before theirs; it publishes with Release, and every CPU reads
//! the state with Acquire. So all that any CPU did before it arrived is visible
//! to `fn`, and all that `fn` did is visible to every CPU after EXIT. ABORT carries
//! nothing. Leaving is a
//! Release on a word of its own, and every decrement continues the release
//! sequences of those before it; the owner reads it with Acquire. So every
//! access of a participant to the owner's frame happens before the frame is freed.
//!
//! `tests/loom_multi_stop.rs`, `tests/loom_abort.rs` and `tests/loom_flush_stop.rs` model-check
//! this file.

#![forbid(unsafe_code)]

use core::fmt;

use crate::sched::FlushEnd;
use crate::sync::atomic::{AtomicU32, Ordering};

/// A state of a stop: what every CPU that takes part has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The stop was given up before all had arrived. `fn` doesn't run.
    Abort = 5,
    /// Preempted threads go on until each has given its CPU away; no stopper has work yet.
    Flush = 6,
}

impl fmt::Display for MultiStopState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MultiStopState::Flush => "FLUSH",
            MultiStopState::Prepare => "PREPARE",
            MultiStopState::DisableIrq => "DISABLE_IRQ",
            MultiStopState::Run => "RUN",
            MultiStopState::Exit => "EXIT",
            MultiStopState::Abort => "ABORT",
        })
    }
}

impl MultiStopState {
    #[inline]
    fn from_word(word: u32) -> MultiStopState {
        match word {
            1 => MultiStopState::Prepare,
            2 => MultiStopState::DisableIrq,
            3 => MultiStopState::Run,
            4 => MultiStopState::Exit,
            5 => MultiStopState::Abort,
            6 => MultiStopState::Flush,
            _ => no_state(word),
        }
    }

    /// Returns the state after this one; EXIT and ABORT are the last.
    const fn next(self) -> MultiStopState {
        match self {
            MultiStopState::Flush => MultiStopState::Prepare,
            MultiStopState::Prepare => MultiStopState::DisableIrq,
            MultiStopState::DisableIrq => MultiStopState::Run,
            MultiStopState::Run | MultiStopState::Exit => MultiStopState::Exit,
            MultiStopState::Abort => MultiStopState::Abort,
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
    /// So many other CPUs have not acknowledged yet.
    More(u32),
    /// This CPU was the last: it publishes this state.
    Last(MultiStopState),
}

/// The barrier of one stop.
#[derive(Debug)]
pub struct MultiStop {
    /// Written Release in [`MultiStop::publish`] and [`MultiStop::disable_irq`], loaded Acquire in
    /// [`MultiStop::is_in`]. ABORT and PREPARE are written Relaxed: they guard no data.
    state: AtomicU32,
    /// Acknowledgements that the current state still waits for. Counted down
    /// AcqRel in [`MultiStop::ack`]; reset Relaxed there, ordered by the Release
    /// store of the state (count-before-state).
    left: AtomicU32,
    /// Participants that have not left, and the thread that queues their works. Counted down
    /// Release in [`MultiStop::leave_for`], loaded Acquire in [`MultiStop::is_over`]
    /// (leave-is-last).
    staying: AtomicU32,
    participants: u32,
    runners: u32,
}

impl MultiStop {
    /// Returns a stop of `participants` CPUs, of which `runners` run the function.
    ///
    /// # Panics
    /// If no CPU would run the function, or more CPUs than take part.
    #[inline]
    pub fn new(participants: u32, runners: u32) -> MultiStop {
        MultiStop::in_state(MultiStopState::Prepare, participants, runners)
    }

    /// Does as [`MultiStop::new`] for a stop that begins with a flush of preempted threads.
    ///
    /// # Panics
    /// As [`MultiStop::new`].
    pub fn flushing(participants: u32, runners: u32) -> MultiStop {
        MultiStop::in_state(MultiStopState::Flush, participants, runners)
    }

    #[inline]
    fn in_state(state: MultiStopState, participants: u32, runners: u32) -> MultiStop {
        assert!(
            (1..=participants).contains(&runners),
            "BUG: {runners} of {participants} CPUs run the function of a stop"
        );
        MultiStop {
            state: AtomicU32::new(state as u32),
            left: AtomicU32::new(participants),
            staying: AtomicU32::new(participants + 1),
            participants,
            runners,
        }
    }

    /// Returns how many CPUs take part.
    #[inline]
    pub fn participants(&self) -> u32 {
        self.participants
    }

    /// Returns how many CPUs run the function.
    #[inline]
    pub fn runners(&self) -> u32 {
        self.runners
    }

    /// Returns for how many to leave with a stop that was given up in FLUSH, and whose flush was
    /// at `end` when it was ended then (`queuer-counts` of `flushed`).
    ///
    /// # Panics
    /// If the flush had ended before.
    pub fn leaving_in_flush(&self, end: FlushEnd) -> u32 {
        match end {
            FlushEnd::Unfinished => self.participants + 1,
            FlushEnd::Finished => self.participants,
            FlushEnd::Over => panic!("BUG: a flush ended before its stop"),
        }
    }

    /// Returns the state that was published last. It says nothing of what was done before that:
    /// a CPU that goes on with a state asks [`MultiStop::is_in`].
    pub fn state(&self) -> MultiStopState {
        MultiStopState::from_word(self.state.load(Ordering::Relaxed))
    }

    /// Returns whether `state` was published last. It is what a CPU polls.
    #[inline]
    pub fn is_in(&self, state: MultiStopState) -> bool {
        // Pairs with the Release in `publish` and `disable_irq`.
        self.state.load(Ordering::Acquire) == state as u32
    }

    /// Acknowledges `seen`, the state that this CPU has reached (acks-once).
    #[inline]
    pub fn ack(&self, seen: MultiStopState) -> Acked {
        let left = self.left.fetch_sub(1, Ordering::AcqRel) - 1;
        if left > 0 {
            return Acked::More(left);
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

    /// Acknowledges DISABLE_IRQ for `count` CPUs that sleep with IRQs masked and stay so until EXIT.
    /// The caller has published that state, and acknowledges it for itself later.
    ///
    /// # Panics
    /// If there were no other CPUs to acknowledge it.
    #[inline]
    pub fn ack_for(&self, count: u32) {
        // Relaxed: the caller's own acknowledgement comes later and orders for all of them what
        // it has acquired when it found that they sleep.
        let left = self.left.fetch_sub(count, Ordering::Relaxed);
        assert!(left > count, "BUG: {count} of {left} CPUs were at rest");
    }

    /// Publishes DISABLE_IRQ, unless the stop has been given up (one-way-out-of-prepare); returns
    /// whether it has not. From then on nothing gives it up.
    ///
    /// # Context
    /// The CPU to which [`MultiStop::ack`] returned that state (published-once).
    #[inline]
    #[must_use]
    pub fn disable_irq(&self) -> bool {
        self.leave_state(
            MultiStopState::Prepare,
            MultiStopState::DisableIrq,
            Ordering::Release,
        )
    }

    /// Publishes RUN or EXIT: `next`, which [`MultiStop::ack`] returned (published-once). DISABLE_IRQ was
    /// published before, so nothing stores ABORT any more that this could overwrite.
    #[inline]
    pub fn publish(&self, next: MultiStopState) {
        debug_assert!(matches!(next, MultiStopState::Run | MultiStopState::Exit));
        self.state.store(next as u32, Ordering::Release);
    }

    /// Ends FLUSH, unless the stop has been given up (one-way-out-of-flush); returns whether it
    /// has not. Then the caller queues the works.
    ///
    /// # Context
    /// The last CPU to finish the flush.
    #[must_use]
    pub fn flushed(&self) -> bool {
        // A stopper sees this store by the lock of the queue that its work comes from.
        self.leave_state(
            MultiStopState::Flush,
            MultiStopState::Prepare,
            Ordering::Relaxed,
        )
    }

    /// Gives the stop up, unless DISABLE_IRQ is published (one-way-out-of-prepare); returns in which
    /// state that was, if it was done by this call. After PREPARE the caller takes back the works that
    /// have not begun, and leaves for each. After FLUSH there are none, and it leaves for all
    /// participants.
    ///
    /// The caller keeps the owner from freeing the barrier meanwhile.
    #[must_use]
    pub fn abort(&self) -> Option<MultiStopState> {
        // A flush may end between the two, and doesn't begin again.
        let states = [MultiStopState::Flush, MultiStopState::Prepare];
        let abort = MultiStopState::Abort;
        states
            .into_iter()
            .find(|state| self.leave_state(*state, abort, Ordering::Relaxed))
    }

    /// Makes the one move out of `state`; returns whether this call has made it.
    #[inline]
    fn leave_state(&self, state: MultiStopState, next: MultiStopState, order: Ordering) -> bool {
        let moved =
            self.state
                .compare_exchange(state as u32, next as u32, order, Ordering::Relaxed);
        moved.is_ok()
    }

    /// Leaves the stop, after EXIT or ABORT: a participant's last access to the barrier and to
    /// what its owner lent with it (leave-is-last). Returns whether it was the last to leave.
    #[inline]
    #[must_use]
    pub fn leave(&self) -> bool {
        self.leave_for(1)
    }

    /// Leaves for `count` participants, which will never arrive; else as
    /// [`MultiStop::leave`].
    #[inline]
    #[must_use]
    pub fn leave_for(&self, count: u32) -> bool {
        self.staying.fetch_sub(count, Ordering::Release) == count
    }

    /// Returns whether every participant has left, and the thread that queued their works.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.staying.load(Ordering::Acquire) == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn publish(stop: &MultiStop, next: MultiStopState) {
        if next == MultiStopState::DisableIrq {
            assert!(stop.disable_irq());
        } else {
            stop.publish(next);
        }
    }

    #[test]
    fn one_cpu_walks_through_alone() {
        let stop = MultiStop::new(1, 1);
        assert!(!stop.leave(), "the queuing thread");
        for state in [
            MultiStopState::Prepare,
            MultiStopState::DisableIrq,
            MultiStopState::Run,
        ] {
            assert_eq!(stop.state(), state);
            assert_eq!(stop.ack(state), Acked::Last(state.next()));
            publish(&stop, state.next());
        }
        assert_eq!(stop.state(), MultiStopState::Exit);
        assert_eq!(stop.abort(), None, "too late");
        assert!(!stop.is_over());
        assert!(stop.leave());
        assert!(stop.is_over());
    }

    #[test]
    fn only_runners_acknowledge_run() {
        let stop = MultiStop::new(3, 1);
        for state in [MultiStopState::Prepare, MultiStopState::DisableIrq] {
            assert_eq!(stop.ack(state), Acked::More(2));
            assert_eq!(stop.ack(state), Acked::More(1));
            assert_eq!(stop.ack(state), Acked::Last(state.next()));
            publish(&stop, state.next());
        }
        assert_eq!(
            stop.ack(MultiStopState::Run),
            Acked::Last(MultiStopState::Exit)
        );
    }

    #[test]
    fn one_cpu_acknowledges_for_those_at_rest() {
        let stop = MultiStop::new(3, 1);
        assert_eq!(stop.ack(MultiStopState::Prepare), Acked::More(2));
        assert_eq!(stop.ack(MultiStopState::Prepare), Acked::More(1));
        let last = stop.ack(MultiStopState::Prepare);
        assert_eq!(last, Acked::Last(MultiStopState::DisableIrq));
        assert!(stop.disable_irq());
        stop.ack_for(2);
        let last = stop.ack(MultiStopState::DisableIrq);
        assert_eq!(last, Acked::Last(MultiStopState::Run));
    }

    #[test]
    #[should_panic(expected = "BUG: 2 of 2 CPUs")]
    fn no_cpu_acknowledges_for_itself_among_those_at_rest() {
        MultiStop::new(2, 1).ack_for(2);
    }

    #[test]
    fn what_is_given_up_never_disables_irqs() {
        let stop = MultiStop::new(2, 1);
        assert_eq!(stop.ack(MultiStopState::Prepare), Acked::More(1));
        assert_eq!(stop.abort(), Some(MultiStopState::Prepare));
        assert_eq!(stop.abort(), None, "once");
        let last = stop.ack(MultiStopState::Prepare);
        assert_eq!(last, Acked::Last(MultiStopState::DisableIrq));
        assert!(!stop.disable_irq());
        assert_eq!(stop.state(), MultiStopState::Abort);
        assert!(!stop.leave());
        assert!(!stop.is_over());
        assert!(stop.leave_for(2));
        assert!(stop.is_over());
    }

    #[test]
    fn a_flush_ends_in_prepare_or_is_given_up() {
        let stop = MultiStop::flushing(2, 1);
        assert_eq!(stop.state(), MultiStopState::Flush);
        assert!(stop.flushed());
        assert!(!stop.flushed(), "once");
        assert_eq!(stop.abort(), Some(MultiStopState::Prepare));

        let stop = MultiStop::flushing(2, 1);
        assert_eq!(stop.abort(), Some(MultiStopState::Flush));
        assert!(!stop.flushed());
        assert_eq!(stop.state(), MultiStopState::Abort);
        assert!(!stop.leave_for(2), "the flush may still be told to be over");
        assert!(stop.leave());
    }

    #[test]
    #[should_panic(expected = "BUG")]
    fn a_stop_that_nobody_runs_is_refused() {
        let _ = MultiStop::new(2, 0);
    }
}
