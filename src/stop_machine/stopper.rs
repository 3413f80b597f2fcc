//! A CPU's stopper: a queue of works, and the thread of the highest class that
//! runs them.
//!
//! # Invariants
//! - Q1: what was accepted will run: a stopper that is disabled still runs what
//!   it has before it parks (C-9).
//! - Q2: online ⇒ enabled (C-7, C-8): `init:stopper` comes just before
//!   `init:online`, and just after it on the way down.
//! - Q3: the queue is filled under its lock, by any CPU; the thread is woken by
//!   its own CPU only, in the handler of the stop SGI.

#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use crate::cpu::CpuId;
use crate::sched::{Host, Service, Thread};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Once, SpinLock};

/// Something for a stopper to do.
pub trait Work: Sync {
    /// Does it on `cpu`. Thread context on that CPU's stopper: nothing else runs
    /// there until it returns, interrupts aside.
    fn run(&self, cpu: CpuId);
}

struct Inner {
    enabled: bool,
    works: VecDeque<&'static dyn Work>,
}

/// One CPU's stopper.
pub struct Stopper<P: Host> {
    /// Lock order: after the stop mutex; by CPU number where two are held.
    inner: SpinLock<Inner, P>,
    /// How many works are queued. Written under the lock; read without it by the
    /// thread before it sleeps. The queueing CPU wakes the thread after it has
    /// stored this, and both the wake and "about to sleep" are decided under the
    /// run-queue lock: so the thread either reads the new count, or is woken.
    queued: AtomicUsize,
    thread: Once<Arc<Thread<P>>>,
}

impl<P: Host> Stopper<P> {
    /// Disabled, without a thread.
    pub(crate) fn new() -> Self {
        Stopper {
            inner: SpinLock::new(Inner {
                enabled: false,
                // One stop at a time, so this never grows under the lock.
                works: VecDeque::with_capacity(4),
            }),
            queued: AtomicUsize::new(0),
            thread: Once::new(),
        }
    }

    /// Its thread, once `prep:threads` has made it.
    pub fn thread(&self) -> Option<&Arc<Thread<P>>> {
        self.thread.get()
    }

    pub(crate) fn set_thread(&self, thread: Arc<Thread<P>>) {
        self.thread.call_once(|| thread);
    }

    /// Whether it accepts work.
    pub fn is_enabled(&self) -> bool {
        self.inner.lock_irqsave().enabled
    }

    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.inner.lock_irqsave().enabled = enabled;
    }

    /// Accepts `work` if it is enabled; returns whether it did.
    #[must_use]
    pub(crate) fn queue(&self, work: &'static dyn Work) -> bool {
        let mut inner = self.inner.lock_irqsave();
        if inner.enabled {
            inner.works.push_back(work);
            self.queued.store(inner.works.len(), Ordering::Release);
        }
        inner.enabled
    }

    pub(crate) fn has_work(&self) -> bool {
        self.queued.load(Ordering::Acquire) > 0
    }

    fn take(&self) -> Option<&'static dyn Work> {
        let mut inner = self.inner.lock_irqsave();
        let work = inner.works.pop_front();
        self.queued.store(inner.works.len(), Ordering::Release);
        work
    }
}

/// What `stopper/N` does.
pub(crate) struct StopperService<P: Host>(pub(crate) &'static Stopper<P>);

impl<P: Host> Service<P> for StopperService<P> {
    fn should_run(&self, _cpu: CpuId) -> bool {
        self.0.has_work()
    }

    fn run(&self, cpu: CpuId) {
        if let Some(work) = self.0.take() {
            work.run(cpu);
        }
    }

    fn park(&self, cpu: CpuId) {
        while let Some(work) = self.0.take() {
            work.run(cpu); // Q1
        }
    }
}
