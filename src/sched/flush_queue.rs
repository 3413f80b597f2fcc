//! A flush as one CPU sees it: which threads its run queue lets run meanwhile.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::platform::PreemptWork;
use crate::sched::ready::{Order, ReadyQueue};
use crate::sched::{FlushId, RunQueue, SchedHost, Thread};

/// How far a CPU is in a flush. It changes under the run-queue lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlushState {
    /// The CPU runs threads as always.
    Outside,
    /// The CPU runs its marked threads.
    Flushes(FlushId),
    /// No marked thread is left here, and the CPU idles.
    Finished(FlushId),
}

impl FlushState {
    /// Returns the request that the CPU has entered.
    pub(crate) fn entered(self) -> Option<FlushId> {
        match self {
            FlushState::Outside => None,
            FlushState::Flushes(id) | FlushState::Finished(id) => Some(id),
        }
    }
}

/// Returns whether `thread`, which is queued, may get a CPU that flushes
/// (`only-marked-run` of [`flush`](crate::sched::flush)).
fn may_run<P: SchedHost>(thread: &Thread<P>) -> bool {
    thread.level() == 0 || thread.is_marked_racy()
}

impl<P: SchedHost> ReadyQueue<P> {
    /// Removes the thread that is next while only marked ones run, and returns it: a stopper,
    /// else the most urgent marked thread. If there is none, the CPU idles, and is to look
    /// whether it has finished when the switch is over.
    #[cold]
    #[inline(never)]
    pub(super) fn pop_marked(&mut self) -> Option<Arc<Thread<P>>> {
        let next = self.take_first(may_run);
        if next.is_none() {
            P::set_preempt_work(PreemptWork::Previous, true);
        }
        next
    }

    /// Returns whether a stopper or a marked thread is queued.
    fn has_marked(&self) -> bool {
        self.all().any(may_run)
    }

    /// Returns the marked thread that is next.
    pub(super) fn first_marked(&self) -> Option<&Thread<P>> {
        self.all().find(|thread| may_run(*thread))
    }
}

impl<P: SchedHost> RunQueue<P> {
    /// Returns what [`RunQueue::should_preempt`] does while the CPU flushes
    /// (`marked-keep-the-cpu` of [`flush`](crate::sched::flush)).
    #[cold]
    pub(super) fn should_preempt_in_flush(&self) -> bool {
        match &self.current {
            Some(current) => current.is_in_app(),
            None if matches!(self.flush_state, FlushState::Finished(_)) => self.ready.has(0),
            None => self.ready.has_marked(),
        }
    }

    /// Enters the flush `id`.
    ///
    /// # Context
    /// The CPU itself.
    pub(super) fn enter_flush(&mut self, id: FlushId) {
        self.flush_state = FlushState::Flushes(id);
        self.ready.set_order(Order::MarkedOnly);
        P::set_preempt_work(PreemptWork::Flush, true);
    }

    /// Leaves the flush that the CPU has entered. What the others know of it is looked at
    /// again.
    ///
    /// # Context
    /// The CPU itself.
    pub(super) fn leave_flush(&mut self) {
        self.flush_state = FlushState::Outside;
        self.ready.set_order(Order::ByUrgency);
        self.order_as_bound();
        P::set_preempt_work(PreemptWork::Flush, false);
        self.reported = self.reported.of_stopped();
    }

    /// Returns the request that the CPU has just finished: it has entered, has no marked
    /// thread, and idles.
    pub(super) fn take_finished(&mut self) -> Option<FlushId> {
        let FlushState::Flushes(id) = self.flush_state else {
            return None;
        };
        if !self.runs_idle() || self.ready.has_marked() {
            return None;
        }
        self.flush_state = FlushState::Finished(id);
        Some(id)
    }
}
