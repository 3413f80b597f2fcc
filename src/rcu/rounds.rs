//! Waiting for a round, or beginning it for all callers that wait.

use crate::rcu::sequence::{Sequence, Turn};
use crate::sched::Patience;
use crate::sched::SchedHost;
use crate::sched::lock::WaitQueue;
use crate::sync::PreemptGuard;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::time::Instant;

/// Rounds of one kind, and the threads that wait for one.
pub(super) struct Rounds<P: SchedHost> {
    sequence: Sequence,
    waiters: WaitQueue<P>,
    /// Whether a round has ended in a still point and its waiters have not been woken.
    /// Relaxed: the still point orders it for the thread that wakes them after it.
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

    /// Waits until a whole round has run since the call. If no other caller has begun
    /// that round, this caller begins it by `begin_fn`, which returns whether the round
    /// is over already. If it isn't, [`Rounds::end`] ends it. The caller of `end` need
    /// not be the one that began the round, which may be preempted by then. Each time
    /// that [`PATIENCE`](crate::sched::PATIENCE) has passed it calls `late_fn`. At `until` it
    /// gives up: the round goes on without it. Returns whether the round is over.
    ///
    /// # Context
    /// Thread, preemption on. `begin_fn` is called with preemption off.
    pub(super) fn share(
        &self,
        until: Instant,
        mut late_fn: impl FnMut(),
        begin_fn: impl Fn() -> bool,
    ) -> bool {
        self.wait(until, &mut late_fn, || {
            let over = begin_fn();
            if over {
                self.end();
            }
            over
        })
    }

    /// Does as [`Rounds::share`] for a round that a thread runs: the caller that begins
    /// it calls `run_fn` and then ends it.
    ///
    /// # Context
    /// Thread, preemption on.
    pub(super) fn share_run<L: FnMut()>(&self, mut late_fn: L, run_fn: impl FnOnce(&mut L)) {
        let mut mine = false;
        self.wait(Instant::FOREVER, &mut late_fn, || {
            mine = true;
            true
        });
        if mine {
            run_fn(&mut late_fn);
            self.end();
        }
    }

    /// Ends the current round, and wakes its waiters.
    ///
    /// # Context
    /// Any.
    pub(super) fn end(&self) {
        // The caller is the last CPU to report (last-report-ends).
        self.sequence.end();
        self.waiters.wake_all();
    }

    /// Ends the current round in a still point. The waiters are not woken before
    /// [`Rounds::wake_after_still_point`], because there may be any number of them, and
    /// all CPUs have masked IRQs.
    pub(super) fn end_in_still_point(&self) {
        self.sequence.end();
        self.owes_wake.store(true, Ordering::Relaxed);
    }

    /// Wakes the waiters of a round that has ended in a still point, after it.
    pub(super) fn wake_after_still_point(&self) {
        if self.owes_wake.swap(false, Ordering::Relaxed) {
            self.waiters.wake_all();
        }
    }

    /// Waits until a round is over that begins after this call, or until `until`; returns
    /// whether it is over. If this caller must begin it, it calls `begun_fn` with preemption
    /// off. If that returns true, the wait is over.
    fn wait(
        &self,
        until: Instant,
        late_fn: &mut impl FnMut(),
        mut begun_fn: impl FnMut() -> bool,
    ) -> bool {
        let need = self.sequence.need();
        let mut over = || {
            let _here = PreemptGuard::<P>::new();
            match self.sequence.try_begin(need) {
                Turn::Done => true,
                Turn::Busy => false,
                Turn::Begun => begun_fn(),
            }
        };
        let mut late = Patience::begin::<P>();
        while !self
            .waiters
            .wait_until(late.next_look().min(until), &mut over)
        {
            if until <= late.next_look() {
                return false;
            }
            if late.is_out(P::now()) {
                late_fn();
            }
        }
        true
    }
}
