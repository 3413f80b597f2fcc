//! A condition variable: waits for a change of the value that a mutex guards.

#![forbid(unsafe_code)]

use crate::sched::SchedHost;
use crate::sched::lock::MutexGuard;
use crate::sched::lock::waiters::{Waiters, wait_taken_until};
use crate::sync::{SpinLock, const_unless_loom, might_sleep_in};
use crate::time::Instant;

/// A queue in which threads wait, with a mutex open, for a notification that the value
/// has changed.
///
/// A thread that waits sleeps at once: when a value changes, no owner of a lock says. What it then
/// waits for to have the mutex again is a wait for a mutex.
pub struct Condvar<P: SchedHost> {
    waiters: SpinLock<Waiters<P>, P>,
}

impl<P: SchedHost> Condvar<P> {
    const_unless_loom! {
        /// Returns a condition variable without a waiter.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new() -> Self {
            Condvar {
                waiters: SpinLock::new(Waiters::new()),
            }
        }
    }

    /// Opens the mutex, waits for a notification, and takes the mutex again. Never
    /// returns without a notification. Another thread may have had the mutex first:
    /// check the condition again.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T, P>) -> MutexGuard<'a, T, P> {
        self.wait_until(guard, Instant::FOREVER).0
    }

    /// Does as [`Condvar::wait`], but waits no longer than until `at`. Also returns
    /// whether it was notified.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T, P>,
        at: Instant,
    ) -> (MutexGuard<'a, T, P>, bool) {
        might_sleep_in::<P>("Condvar::wait");
        let mutex = guard.mutex();
        let me = P::sched().current();
        // Before the mutex opens: a thread that changes the value after that finds this
        // one here.
        self.waiters.lock_irqsave().add(&me);
        drop(guard);
        let mut notified = wait_taken_until(&self.waiters, &me, at);
        if !notified {
            let mut waiters = self.waiters.lock_irqsave();
            notified = !waiters.remove(&me); // Notified after the limit.
        }
        (mutex.lock(), notified)
    }

    /// Waits as [`Condvar::wait`] does, again and again, until `wait_fn` returns false.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T, P>,
        mut wait_fn: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T, P> {
        while wait_fn(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    /// Wakes the thread that has waited longest.
    ///
    /// # Context
    /// Any.
    pub fn notify_one(&self) {
        self.waiters.lock_irqsave().wake_one();
    }

    /// Wakes all threads that wait.
    ///
    /// # Context
    /// Any.
    pub fn notify_all(&self) {
        self.waiters.lock_irqsave().wake_all();
    }
}

impl<P: SchedHost> Default for Condvar<P> {
    fn default() -> Self {
        Self::new()
    }
}
