//! Where threads wait for a condition that others bring about.

#![forbid(unsafe_code)]

use crate::sched::SchedHost;
use crate::sched::lock::waiters::Waiters;
use crate::sync::{PreemptGuard, SpinLock, const_unless_loom, might_sleep};
use crate::time::Instant;

/// A queue of threads that wait for a condition. The condition is the caller's: who
/// makes it true does so first, then wakes.
///
/// # Memory ordering
/// A waiter queues itself under the lock before it looks; who wakes takes the lock
/// after the change. So the waiter sees the change, or is found in the queue.
///
/// # No wake-up is lost
/// A waiter that leaves and finds itself out of the queue was given a wake-up after its
/// last look. It hands that wake-up to the next waiter, also if its own look said yes: what
/// it saw may have been another change than the one that the wake-up was for.
pub struct WaitQueue<P: SchedHost> {
    waiters: SpinLock<Waiters<P>, P>,
}

impl<P: SchedHost> WaitQueue<P> {
    const_unless_loom! {
        /// Nobody waits.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new() -> Self {
            WaitQueue {
                waiters: SpinLock::new(Waiters::new()),
            }
        }
    }

    /// Waits until `ready_fn` says yes, but not past `at`; returns what it said last.
    ///
    /// # Context
    /// Thread, preemption on. `ready_fn` is called with preemption off: it doesn't wait.
    ///
    /// # Panics
    /// If `ready_fn` may wait, for a lock that sleeps too, whether it would have to or not:
    /// the thread is about to wait already, and might never look again.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_until(&self, at: Instant, mut ready_fn: impl FnMut() -> bool) -> bool {
        might_sleep::<P>();
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

    /// Wakes who has waited longest. Any context.
    pub fn wake_one(&self) {
        self.waiters.lock_irqsave().wake_one();
    }

    /// Wakes all who wait. Any context.
    pub fn wake_all(&self) {
        self.waiters.lock_irqsave().wake_all();
    }
}

impl<P: SchedHost> Default for WaitQueue<P> {
    fn default() -> Self {
        Self::new()
    }
}
