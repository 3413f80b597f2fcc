//! Waiting for a round, or beginning it for all who wait.

use crate::rcu::sequence::{Sequence, Turn};
use crate::sched::SchedHost;
use crate::sched::late_at;
use crate::sched::lock::WaitQueue;
use crate::sync::PreemptGuard;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Rounds of one kind, and those who wait for one.
pub(super) struct Rounds<P: SchedHost> {
    sequence: Sequence,
    waiters: WaitQueue<P>,
    /// A round has ended in a still point, and no waiter has been woken. Relaxed: the still
    /// point orders it for the thread that wakes them after it.
    owes_wake: AtomicBool,
}

impl<P: SchedHost> Rounds<P> {
    pub(super) fn new() -> Self {
        Rounds {
            sequence: Sequence::new(),
            waiters: WaitQueue::new(),
            owes_wake: AtomicBool::new(false),
        }
    }

    /// Returns once a whole round has run between the call and the return. If it is this
    /// caller's turn it begins the round, by `begin_fn`, which returns whether the round is over by
    /// that. If not, [`Rounds::end`] says so, and needs nothing of the thread that has begun it:
    /// that one may be kept from its CPU by then. Whenever
    /// [`PATIENCE`](crate::sched::PATIENCE) has passed it calls `late_fn`.
    ///
    /// # Context
    /// Thread, preemption on. `begin_fn` is called with preemption off.
    pub(super) fn share(&self, mut late_fn: impl FnMut(), begin_fn: impl Fn() -> bool) {
        self.wait(&mut late_fn, || {
            let over = begin_fn();
            if over {
                self.end();
            }
            over
        });
    }

    /// As [`Rounds::share`], for a round that a thread runs: who begins it calls `run_fn`
    /// and ends it.
    ///
    /// # Context
    /// Thread, preemption on.
    pub(super) fn share_run<L: FnMut()>(&self, mut late_fn: L, run_fn: impl FnOnce(&mut L)) {
        let mut mine = false;
        self.wait(&mut late_fn, || {
            mine = true;
            true
        });
        if mine {
            run_fn(&mut late_fn);
            self.end();
        }
    }

    /// The round that was begun is over.
    ///
    /// # Context
    /// Any.
    pub(super) fn end(&self) {
        // The caller is the last CPU to report (last-report-ends).
        self.sequence.end();
        self.waiters.wake_all();
    }

    /// As [`Rounds::end`], in a still point: the waiters are not woken before
    /// [`Rounds::wake_after_still_point`], because there may be any number of them and all
    /// CPUs have masked IRQs.
    pub(super) fn end_in_still_point(&self) {
        self.sequence.end();
        self.owes_wake.store(true, Ordering::Relaxed);
    }

    /// Wakes those whose round has ended in a still point that is over.
    pub(super) fn wake_after_still_point(&self) {
        if self.owes_wake.swap(false, Ordering::Relaxed) {
            self.waiters.wake_all();
        }
    }

    /// Waits until a round is over that begins after this. If it has to begin that itself
    /// it calls `begun_fn`, preemption off since before; if that says yes it waits no more.
    fn wait(&self, late_fn: &mut impl FnMut(), mut begun_fn: impl FnMut() -> bool) {
        let need = self.sequence.need();
        let mut over = || {
            let _here = PreemptGuard::<P>::new();
            match self.sequence.try_begin(need) {
                Turn::Done => true,
                Turn::Busy => false,
                Turn::Begun => begun_fn(),
            }
        };
        while !self.waiters.wait_until(late_at::<P>(), &mut over) {
            late_fn();
        }
    }
}
