//! A CPU's stopper: a queue of works, and the thread of the highest class that
//! runs them.
//!
//! # Invariants
//! - **accepted-runs**: a work that was accepted will run: a stopper that is disabled
//!   still runs what it has before it parks.
//! - **online-enabled**: the stopper of an online CPU is enabled: `init:stopper` comes
//!   just before `init:online`, and just after it on the way down.
//! - **own-cpu-wakes**: the queue is filled under its lock, by any CPU; the thread is
//!   woken by its own CPU only, in the handler of the stop SGI.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::marker::PhantomData;

use crate::cpu::CpuId;
use crate::sched::{SchedHost, Service, Thread};
use crate::stop_machine::{StopHost, WorkQueue};
use crate::sync::Once;
use crate::sync::atomic::{AtomicBool, Ordering};

/// A piece of work for a stopper.
pub trait Work: Sync {
    /// Does the work on `cpu`. Only interrupts run there until it returns.
    ///
    /// # Context
    /// Thread: that CPU's stopper.
    fn run(&self, cpu: CpuId);
}

/// One CPU's stopper.
pub struct Stopper<P: SchedHost> {
    works: WorkQueue<&'static dyn Work, P>,
    thread: Once<Arc<Thread<P>>>,
    /// It has masked IRQs for the stop that it goes through or went through last, and has
    /// run what was called before. Cleared before it acknowledges PREPARE, so a CPU that
    /// sees DISABLE_IRQ doesn't see the last stop's. Relaxed: for messages, nothing travels
    /// with it.
    still: AtomicBool,
}

impl<P: SchedHost> Stopper<P> {
    /// Makes a disabled stopper without a thread.
    pub(crate) fn new() -> Self {
        Stopper {
            // One stop at a time, so this never grows under its lock.
            works: WorkQueue::new(4),
            thread: Once::new(),
            still: AtomicBool::new(false),
        }
    }

    /// Says whether this CPU, whose stopper it is, has masked IRQs for its stop.
    #[inline]
    pub(crate) fn set_still(&self, still: bool) {
        self.still.store(still, Ordering::Relaxed);
    }

    /// Returns whether the CPU had masked IRQs for its stop a moment ago: for diagnosis.
    pub(crate) fn is_still_racy(&self) -> bool {
        self.still.load(Ordering::Relaxed)
    }

    /// Returns its thread, once `prep:threads` has made it.
    pub fn thread(&self) -> Option<&Arc<Thread<P>>> {
        self.thread.get()
    }

    /// Returns whether it accepts work.
    pub fn is_enabled(&self) -> bool {
        self.works.is_enabled()
    }

    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.works.set_enabled(enabled);
    }

    /// Accepts `work` if it is enabled; returns whether it did.
    #[must_use]
    pub(crate) fn queue(&self, work: &'static dyn Work) -> bool {
        self.works.push(work)
    }

    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        self.works.has_work()
    }
}

/// The service that the thread `stopper/N` does.
pub(crate) struct StopperService<P: StopHost>(PhantomData<fn() -> P>);

impl<P: StopHost> StopperService<P> {
    pub(crate) const fn new() -> Self {
        StopperService(PhantomData)
    }
}

impl<P: StopHost> Service<P> for StopperService<P> {
    fn made(&self, cpu: CpuId, thread: &Arc<Thread<P>>) {
        let stopper = P::stop_machine().stopper(cpu);
        stopper.thread.call_once(|| Arc::clone(thread));
    }

    fn should_run(&self, cpu: CpuId) -> bool {
        P::stop_machine().stopper(cpu).has_work()
    }

    fn run(&self, cpu: CpuId) {
        if let Some(work) = P::stop_machine().stopper(cpu).works.pop() {
            work.run(cpu);
        }
    }

    fn park(&self, cpu: CpuId) {
        while let Some(work) = P::stop_machine().stopper(cpu).works.pop() {
            work.run(cpu); // (accepted-runs)
        }
    }
}
