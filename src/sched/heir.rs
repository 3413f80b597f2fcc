//! A thread as one that lends and inherits: how [`inherit`](crate::sched::lock) meets the
//! run queues.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use intrusive_collections::LinkedListAtomicLink;

use crate::sched::links::{LendLink, WaitLink};
use crate::sched::lock::{Heir, Lenders, Place};
use crate::sched::{SchedHost, Scheduler, Thread};
use crate::sync::IrqGuard;

impl<P: SchedHost> Heir for Thread<P> {
    type WaitLink = WaitLink<P>;
    type LendLink = LendLink<P>;
    const WAIT_LINK: WaitLink<P> = WaitLink::NEW;
    const LEND_LINK: LendLink<P> = LendLink::NEW;

    fn wait_link(&self) -> &LinkedListAtomicLink {
        &self.wait_link
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn level(&self) -> usize {
        self.level()
    }

    fn with_lenders<R>(&self, change_fn: impl FnOnce(&mut Lenders<Self>) -> R) -> R {
        change_fn(&mut self.lenders.lock_irqsave())
    }

    fn inherit(thread: &Arc<Self>, level: usize) {
        P::sched().inherit(thread, level);
    }

    fn about_to_block(me: &Arc<Self>) {
        P::sched().about_to_block(me);
    }

    fn wake(thread: &Arc<Self>) {
        P::sched().wake(thread);
    }
}

impl<P: SchedHost> Scheduler<P> {
    /// Has `thread` inherit `level`, from now on.
    ///
    /// # Context
    /// Under the lock of the thread's loans (`inherits-the-most` of `lock::inherit`).
    fn inherit(&self, thread: &Arc<Thread<P>>, level: usize) {
        if thread.urgency.inherited() == level {
            return; // (`levels-meet` of `lock::inherit`)
        }
        let masked = IrqGuard::<P>::new();
        let queue = self.lock_queue_of(thread, &masked);
        if thread.urgency.would_change(level) {
            drop(queue);
            self.change(thread, |thread| thread.urgency.inherit(level));
        } else {
            thread.urgency.inherit(level);
        }
    }
}
