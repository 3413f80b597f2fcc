//! Threads that wait for the same object, in the order in which they came.
//!
//! A thread waits for one object at a time, so it is in the list by a link of its own.
//! Waiting takes no memory, and nothing is allocated under the spin lock around the
//! list.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use intrusive_collections::LinkedList;

use crate::sched::links::WaitLink;
use crate::sched::{Patience, patience};
use crate::sched::{SchedHost, Thread};
use crate::sync::SpinLock;
use crate::time::Instant;

/// Sleeps until another thread removes `me` from the list of waiters, under the lock
/// `inner`. That thread gives `me` what it waits for, so `me` need not ask again. Each
/// time that [`PATIENCE`](crate::sched::PATIENCE) has passed it logs that it still
/// waits for `what`.
///
/// # Context
/// Thread, preemption on.
pub(super) fn wait_until_taken<T, P: SchedHost>(
    inner: &SpinLock<T, P>,
    me: &Arc<Thread<P>>,
    what: &str,
) {
    let taken = wait_patiently_until(inner, me, Instant::FOREVER, what);
    assert!(taken, "BUG: a wait without limit ended without success");
}

/// Does as [`wait_until_taken`], but waits no longer than until `at`. Returns whether
/// `me` was removed, as far as it has seen. If not, `me` may still be in the list.
pub(super) fn wait_patiently_until<T, P: SchedHost>(
    inner: &SpinLock<T, P>,
    me: &Arc<Thread<P>>,
    at: Instant,
    what: &str,
) -> bool {
    let mut late = Patience::begin::<P>();
    loop {
        let look_at = late.next_look();
        if wait_taken_until(inner, me, look_at.min(at)) {
            return true;
        }
        if at <= look_at {
            return false;
        }
        if late.is_out(P::now()) {
            log::warn!(
                "{} has waited {} s for {what}",
                me.name(),
                patience::<P>().as_secs()
            );
        }
    }
}

/// Does as [`wait_patiently_until`], and logs nothing.
pub(super) fn wait_taken_until<T, P: SchedHost>(
    inner: &SpinLock<T, P>,
    me: &Arc<Thread<P>>,
    at: Instant,
) -> bool {
    let sched = P::sched();
    loop {
        {
            let _inner = inner.lock_irqsave();
            if !me.wait_link.is_linked() {
                return true;
            }
            if at != Instant::FOREVER && P::now() >= at {
                return false;
            }
            sched.about_to_block(me);
        }
        sched.schedule_until(me, at);
    }
}

/// A queue of waiting threads; its owner keeps it under a lock.
pub(super) struct Waiters<P: SchedHost> {
    list: LinkedList<WaitLink<P>>,
}

impl<P: SchedHost> Waiters<P> {
    /// Returns a queue without a waiter.
    pub(super) const fn new() -> Self {
        Waiters {
            list: LinkedList::new(WaitLink::NEW),
        }
    }

    /// Returns whether no thread waits.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds `me` behind the others, if it isn't in the queue.
    ///
    /// # Panics
    /// If `me` is in another list: a thread waits for one object at a time, and leaves
    /// the list when its wait ends.
    pub(super) fn add(&mut self, me: &Arc<Thread<P>>) {
        if me.wait_link.is_linked() {
            assert!(self.contains(me), "BUG: {me:?} waits for two things");
        } else {
            self.list.push_back(Arc::clone(me));
        }
    }

    /// Returns whether `me` is in the queue. Walks the queue, which happens only when a
    /// thread checks again.
    fn contains(&self, me: &Arc<Thread<P>>) -> bool {
        let mut waiters = self.list.iter();
        waiters.any(|waiter| core::ptr::eq(waiter, Arc::as_ptr(me)))
    }

    /// Removes the thread that has waited longest and returns it.
    pub(super) fn pop(&mut self) -> Option<Arc<Thread<P>>> {
        self.list.pop_front()
    }

    /// Removes the thread that has waited longest and wakes it. Returns whether there
    /// was one. The thread continues when the lock around the list is open.
    pub(super) fn wake_one(&mut self) -> bool {
        let next = self.pop();
        if let Some(thread) = &next {
            P::sched().wake(thread);
        }
        next.is_some()
    }

    /// Does as [`Waiters::wake_one`] for all threads. Returns how many.
    pub(super) fn wake_all(&mut self) -> usize {
        core::iter::from_fn(|| self.wake_one().then_some(())).count()
    }

    /// Removes `me`, if it is in the queue. Returns whether it was.
    pub(super) fn remove(&mut self, me: &Arc<Thread<P>>) -> bool {
        if !me.wait_link.is_linked() {
            return false;
        }
        let mut at = self.list.front_mut();
        while let Some(waiter) = at.get() {
            if core::ptr::eq(waiter, Arc::as_ptr(me)) {
                return at.remove().is_some();
            }
            at.move_next();
        }
        false
    }
}
