//! Waiting for a round, or running it for all who wait.

use crate::rcu::sequence::{Sequence, Turn};
use crate::sched::Host;
use crate::sched::lock::{PATIENCE, WaitQueue};

/// Rounds of one kind, and those who wait for one.
pub(super) struct Rounds<P: Host> {
    sequence: Sequence,
    waiters: WaitQueue<P>,
}

impl<P: Host> Rounds<P> {
    pub(super) fn new() -> Self {
        Rounds {
            sequence: Sequence::new(),
            waiters: WaitQueue::new(),
        }
    }

    /// Returns once a whole round has run between the call and the return: by
    /// `round_fn`, if it is this caller's turn, else by another's. While it waits for
    /// others it calls `late_fn` whenever [`PATIENCE`] has passed.
    ///
    /// # Context
    /// Thread, preemption on.
    pub(super) fn share<L: FnMut()>(&self, mut late_fn: L, round_fn: impl FnOnce(&mut L)) {
        let need = self.sequence.need();
        let mut turn = Turn::Busy;
        let mut ask = || {
            turn = self.sequence.try_begin(need);
            turn != Turn::Busy
        };
        while !self.waiters.wait_until(P::deadline(PATIENCE), &mut ask) {
            late_fn();
        }
        if turn == Turn::Begun {
            round_fn(&mut late_fn);
            self.sequence.end();
            self.waiters.wake_all();
        }
    }
}
