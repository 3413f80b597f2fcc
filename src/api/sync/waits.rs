//! Places where threads wait for each other.

use crate::api::sync::MutexGuard;
use crate::kernel::Hw;
use crate::kernel::entry::enter;
use crate::sched::lock;
use crate::time::Instant;

/// A place where threads wait until the value of a [`Mutex`](crate::api::sync::Mutex) has
/// changed; the mutex is unlocked meanwhile. They sleep at once: how long that takes, no owner of a
/// lock says.
///
/// ```no_run
#[doc = include_str!("../../../examples/api/channel.rs")]
/// ```
pub struct Condvar(lock::Condvar<Hw>);

impl Condvar {
    /// Returns a condition variable without a waiter.
    ///
    /// # Context
    /// Any.
    #[cfg_attr(debug_assertions, track_caller)]
    pub const fn new() -> Condvar {
        Condvar(lock::Condvar::new())
    }

    /// Opens the mutex, waits for a notification, and takes the mutex again. Never
    /// returns without a notification. Another thread may have had the mutex first:
    /// check the condition again.
    ///
    /// # Context
    /// Thread, preemption on.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let _in_kernel = enter();
        MutexGuard::new(self.0.wait(guard.into_inner()))
    }

    /// Does as [`Condvar::wait`], but waits no longer than until `at`. Also returns
    /// whether it was notified.
    ///
    /// # Context
    /// Thread, preemption on.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        at: Instant,
    ) -> (MutexGuard<'a, T>, bool) {
        let _in_kernel = enter();
        let (guard, notified) = self.0.wait_until(guard.into_inner(), at);
        (MutexGuard::new(guard), notified)
    }

    /// Waits as [`Condvar::wait`] does, again and again, until `wait_fn` returns false.
    ///
    /// # Context
    /// Thread, preemption on.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        mut wait_fn: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let in_kernel = enter();
        let wait_fn = |value: &mut T| in_kernel.call_app(|| wait_fn(value));
        MutexGuard::new(self.0.wait_while(guard.into_inner(), wait_fn))
    }

    /// Wakes the thread that has waited longest.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn notify_one(&self) {
        let _in_kernel = enter();
        self.0.notify_one();
    }

    /// Wakes all threads that wait.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn notify_all(&self) {
        let _in_kernel = enter();
        self.0.notify_all();
    }
}

impl Default for Condvar {
    #[cfg_attr(debug_assertions, track_caller)]
    fn default() -> Self {
        Self::new()
    }
}

/// An event that threads wait for. It counts the completions that no waiter has taken yet.
///
/// ```no_run
#[doc = include_str!("../../../examples/api/device.rs")]
/// ```
pub struct Completion(lock::Completion<Hw>);

impl Completion {
    /// Returns a completion that is not completed.
    ///
    /// # Context
    /// Any.
    #[cfg_attr(debug_assertions, track_caller)]
    pub const fn new() -> Completion {
        Completion(lock::Completion::new())
    }

    /// Completes it once: one waiter, now or later, continues.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn complete(&self) {
        let _in_kernel = enter();
        self.0.complete();
    }

    /// Completes it for ever: no waiter sleeps any more.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn complete_all(&self) {
        let _in_kernel = enter();
        self.0.complete_all();
    }

    /// Resets it to "not completed".
    ///
    /// # Context
    /// Between two uses: no thread waits.
    ///
    /// # Panics
    /// If a thread waits.
    #[inline]
    pub fn reset(&self) {
        let _in_kernel = enter();
        self.0.reset();
    }

    /// Takes one completion without waiting. Returns whether there was one.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn try_wait(&self) -> bool {
        let _in_kernel = enter();
        self.0.try_wait()
    }

    /// Waits for a completion and takes it, without limit.
    ///
    /// # Context
    /// Thread, preemption on.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait(&self) {
        let _in_kernel = enter();
        self.0.wait();
    }

    /// Waits for a completion and takes it. Calls `late_fn` each time that it has waited
    /// for ten more seconds.
    ///
    /// # Context
    /// Thread, preemption on.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_patiently(&self, mut late_fn: impl FnMut()) {
        let in_kernel = enter();
        self.0.wait_patiently(|| in_kernel.call_app(&mut late_fn));
    }

    /// Waits for a completion until `at`, and takes it. Returns whether it got one.
    ///
    /// # Context
    /// Thread, preemption on.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_until(&self, at: Instant) -> bool {
        let _in_kernel = enter();
        self.0.wait_until(at)
    }
}

impl Default for Completion {
    #[cfg_attr(debug_assertions, track_caller)]
    fn default() -> Self {
        Self::new()
    }
}

/// A number of permits; a thread that finds none sleeps until one is returned. It goes to
/// the thread that has waited longest, and no thread that comes later can take it in between.
///
/// A permit may stand for an event, so a thread sleeps at once. Where one thread at a time may go on,
/// a [`Mutex`](crate::api::sync::Mutex) is cheaper: a wait for it spins first.
///
/// ```no_run
#[doc = include_str!("../../../examples/api/permits.rs")]
/// ```
pub struct Semaphore(lock::Semaphore<Hw>);

impl Semaphore {
    /// Returns a semaphore with `permits` permits.
    ///
    /// # Context
    /// Any.
    #[cfg_attr(debug_assertions, track_caller)]
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore(lock::Semaphore::new(permits))
    }

    /// Takes a permit; sleeps until there is one.
    ///
    /// # Context
    /// Thread, preemption on.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn acquire(&self) {
        let _in_kernel = enter();
        self.0.acquire();
    }

    /// Takes a permit if there is one. Returns whether there was.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn try_acquire(&self) -> bool {
        let _in_kernel = enter();
        self.0.try_acquire()
    }

    /// Releases a permit, or adds one. The number of permits saturates at `usize::MAX`.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn release(&self) {
        let _in_kernel = enter();
        self.0.release();
    }
}

/// A place where threads wait until a condition holds. The condition is the caller's: the
/// thread that makes it true does so first, then wakes the waiters. No wake-up is lost
/// between the check of the condition and the wait.
///
/// ```no_run
#[doc = include_str!("../../../examples/api/items.rs")]
/// ```
pub struct WaitQueue(lock::WaitQueue<Hw>);

impl WaitQueue {
    /// Returns a queue without a waiter.
    ///
    /// # Context
    /// Any.
    #[cfg_attr(debug_assertions, track_caller)]
    pub const fn new() -> WaitQueue {
        WaitQueue(lock::WaitQueue::new())
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
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_until(&self, at: Instant, ready_fn: impl FnMut() -> bool) -> bool {
        let _in_kernel = enter();
        self.0.wait_until(at, ready_fn)
    }

    /// Wakes the thread that has waited longest.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn wake_one(&self) {
        let _in_kernel = enter();
        self.0.wake_one();
    }

    /// Wakes all threads that wait.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn wake_all(&self) {
        let _in_kernel = enter();
        self.0.wake_all();
    }
}

impl Default for WaitQueue {
    #[cfg_attr(debug_assertions, track_caller)]
    fn default() -> Self {
        Self::new()
    }
}
