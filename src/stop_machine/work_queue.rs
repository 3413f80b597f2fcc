//! The queue of works of a stopper: filled by any CPU while it is enabled,
//! emptied by one.
//!
//! # Invariants
//! - **accepted-stays**: a work that was accepted stays until it is taken, whether the
//!   queue is enabled or not.
//! - **disabled-refuses**: a work is accepted or refused under the lock that disables
//!   the queue too: once it is disabled nothing comes in any more.
//! - **count-under-lock**: the count is stored under that lock, so a thread that reads
//!   it after a push or a take that happened before sees at least the count stored
//!   there.
//!
//! # Memory ordering
//! The lock makes what was done before a push visible to the stopper that takes the
//! work. The count orders nothing and is Relaxed: a CPU that queues a work wakes the
//! stopper's thread afterwards. That wake and the thread's decision to wait are taken
//! under one lock, so the thread reads the new count or is woken (`blocking-before-check` of
//! [`BlockState`](crate::sched::BlockState)).
//!
//! `tests/loom_stopper.rs` model-checks this file.

#![forbid(unsafe_code)]

use alloc::collections::VecDeque;

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{LocalCpu, SpinLock};

struct Inner<T> {
    enabled: bool,
    works: VecDeque<T>,
}

/// Works that wait for their stopper.
pub struct WorkQueue<T, E: LocalCpu> {
    /// The order of locks is in `docs/architecture.md`.
    inner: SpinLock<Inner<T>, E>,
    /// How many works there are (count-under-lock): read without the lock.
    queued: AtomicUsize,
}

impl<T, E: LocalCpu> WorkQueue<T, E> {
    /// Makes a disabled, empty queue with room for `capacity` works. A push beyond that
    /// allocates under the lock.
    pub fn new(capacity: usize) -> Self {
        WorkQueue {
            inner: SpinLock::new(Inner {
                enabled: false,
                works: VecDeque::with_capacity(capacity),
            }),
            queued: AtomicUsize::new(0),
        }
    }

    /// Returns whether the queue accepts work.
    pub fn is_enabled(&self) -> bool {
        self.inner.lock_irqsave().enabled
    }

    /// Has the queue accept work from now on, or refuse it (disabled-refuses).
    pub fn set_enabled(&self, enabled: bool) {
        self.inner.lock_irqsave().enabled = enabled;
    }

    /// Accepts `work` if the queue is enabled; returns whether it did.
    #[must_use]
    pub fn push(&self, work: T) -> bool {
        let mut inner = self.inner.lock_irqsave();
        if inner.enabled {
            inner.works.push_back(work);
            self.queued.store(inner.works.len(), Ordering::Relaxed);
        }
        inner.enabled
    }

    /// Takes the oldest work, also from a disabled queue (accepted-stays).
    #[inline]
    pub fn pop(&self) -> Option<T> {
        let mut inner = self.inner.lock_irqsave();
        let work = inner.works.pop_front();
        self.queued.store(inner.works.len(), Ordering::Relaxed);
        work
    }

    /// Returns whether there is work, without taking the lock.
    #[inline]
    pub fn has_work(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > 0
    }
}
