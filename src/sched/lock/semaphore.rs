//! A counting semaphore: a number of threads may continue, the others sleep.

#![forbid(unsafe_code)]

use crate::sched::SchedHost;
use crate::sched::lock::waiters::{Waiters, wait_until_taken};
use crate::sync::{SpinLock, const_unless_loom, might_sleep_in};

struct Inner<P: SchedHost> {
    count: usize,
    waiters: Waiters<P>,
}

/// A number of permits. A permit that is released goes to the thread that has waited
/// longest, and no thread that comes later can take it in between.
///
/// A thread that waits sleeps at once: which threads have permits isn't known, and often none has
/// one and the permit stands for an event. A lock is a [`Mutex`](super::Mutex), which spins first.
pub struct Semaphore<P: SchedHost> {
    inner: SpinLock<Inner<P>, P>,
}

impl<P: SchedHost> Semaphore<P> {
    const_unless_loom! {
        /// Returns a semaphore with `permits` permits.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new(permits: usize) -> Self {
            Semaphore {
                inner: SpinLock::new(Inner {
                    count: permits,
                    waiters: Waiters::new(),
                }),
            }
        }
    }

    /// Takes a permit; sleeps until there is one.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn acquire(&self) {
        might_sleep_in::<P>("Semaphore::acquire");
        let me = P::sched().current();
        {
            let mut inner = self.inner.lock_irqsave();
            if inner.count > 0 {
                inner.count -= 1;
                return;
            }
            inner.waiters.add(&me);
        }
        wait_until_taken(&self.inner, &me, "a semaphore");
    }

    /// Takes a permit if there is one. Returns whether there was.
    ///
    /// # Context
    /// Any.
    pub fn try_acquire(&self) -> bool {
        let mut inner = self.inner.lock_irqsave();
        let there_is = inner.count > 0;
        inner.count -= usize::from(there_is);
        there_is
    }

    /// Releases a permit, or adds one. The number of permits saturates at `usize::MAX`.
    ///
    /// # Context
    /// Any.
    pub fn release(&self) {
        let mut inner = self.inner.lock_irqsave();
        if !inner.waiters.wake_one() {
            inner.count = inner.count.saturating_add(1);
        }
    }
}
