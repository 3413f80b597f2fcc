//! Queues of threads that wait for a condition.

#![forbid(unsafe_code)]

use crate::sched::SchedHost;
use crate::sched::lock::waiters::Waiters;
use crate::sync::{PreemptGuard, SpinLock, const_unless_loom, might_sleep_in};
use crate::time::Instant;

/// A queue of threads that wait for a condition. The condition is the caller's: the
/// thread that makes it true does so first, then wakes the waiters.
///
/// # Memory ordering
/// A waiter queues itself under the lock before it checks the condition. A waker takes
/// the lock after it has changed the condition. So the waiter sees the change, or the
/// waker finds it in the queue.
///
/// # No wake-up is lost
/// A waiter that leaves and finds itself out of the queue was given a wake-up after its
/// last check. It hands that wake-up to the next waiter, even if its own check returned
/// true: it may have seen another change than the one that the wake-up was for.
pub struct WaitQueue<P: SchedHost> {
    waiters: SpinLock<Waiters<P>, P>,
}

impl<P: SchedHost> WaitQueue<P> {
    const_unless_loom! {
        /// Returns a queue without a waiter.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new() -> Self {
            WaitQueue {
                waiters: SpinLock::new(Waiters::new()),
            }
        }
    }

    /// Waits until `ready_fn` returns true, but no longer than until `at`. Returns the
    /// last result of `ready_fn`.
    ///
    /// # Context
    /// Thread, preemption on. `ready_fn` is called with preemption off, so it must not
    /// wait.
    ///
    /// # Panics
    /// If `ready_fn` calls a function that may wait, a sleeping lock's included,
    /// whether that would have to wait or not: the thread is about to wait already, and
    /// might never check again.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_until(&self, at: Instant, mut ready_fn: impl FnMut() -> bool) -> bool {
        might_sleep_in::<P>("WaitQueue::wait_until");
        let mut is_ready = || {
            let _here = PreemptGuard::<P>::new();
            ready_fn()
        };
        if is_ready() {
            return true;
        }
        let sched = P::sched();
        let me = sched.current();
        loop {
            {
                let mut waiters = self.waiters.lock_irqsave();
                waiters.add(&me);
                sched.about_to_block(&me);
            }
            let ready = is_ready();
            if ready || (at != Instant::FOREVER && P::now() >= at) {
                sched.cancel_block(&me);
                let mut waiters = self.waiters.lock_irqsave();
                if !waiters.remove(&me) {
                    waiters.wake_one();
                }
                return ready;
            }
            sched.schedule_until(&me, at);
        }
    }

    /// Wakes the thread that has waited longest.
    ///
    /// # Context
    /// Any.
    pub fn wake_one(&self) {
        self.waiters.lock_irqsave().wake_one();
    }

    /// Wakes all threads that wait.
    ///
    /// # Context
    /// Any.
    pub fn wake_all(&self) {
        self.waiters.lock_irqsave().wake_all();
    }
}

impl<P: SchedHost> Default for WaitQueue<P> {
    fn default() -> Self {
        Self::new()
    }
}
