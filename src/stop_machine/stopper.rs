//! A CPU's stopper: a queue of works, and the thread of the highest class that
//! runs them.
//!
//! # Invariants
//! - **accepted-runs**: a work that was accepted will run, unless its owner takes it back, and on a
//!   CPU that goes it runs before the still point, while grace periods and timers count on the
//!   CPU: the CPU's part in that stop is the last work that its stopper accepts
//!   (`last-stays-last` of [`WorkQueue`]).
//! - **online-enabled**: the stopper of an online CPU is enabled: `init:stopper` comes
//!   just before `init:online`. It is disabled only by the stop that is to take its CPU offline, and
//!   enabled again by that stop's caller if the CPU has stayed. That thread has the stop mutex and
//!   the hotplug lock for writing. So a thread that has one of these, or the hotplug lock for
//!   reading, finds the stoppers of all online CPUs enabled.
//! - **own-cpu-wakes**: the queue is filled under its lock, by any CPU; the thread is
//!   woken by its own CPU only, in the handler of the stop SGI.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::marker::PhantomData;

use crate::cpu::CpuId;
use crate::sched::{Service, Thread};
use crate::stop_machine::current::CurrentStop;
use crate::stop_machine::{HeldUp, StopHost, WorkNode, WorkQueue};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Once, SpinLock};

/// A piece of work for a stopper.
pub trait Work: Sync {
    /// Does the work on `cpu`. Only interrupts run there until it returns.
    ///
    /// # Context
    /// Thread: that CPU's stopper.
    fn run(&self, cpu: CpuId);

    /// Is called before the work is queued, when the flush with which its stop begins is over.
    ///
    /// # Context
    /// As [`FlushHook::last_finished`](crate::sched::FlushHook::last_finished).
    ///
    /// # Panics
    /// If its stop doesn't begin with a flush.
    fn flushed(&self) {
        panic!("BUG: a flush has ended that no stop has begun");
    }
}

/// A work in the queue of a stopper.
pub(super) type StopperNode = WorkNode<&'static dyn Work>;

/// One CPU's stopper.
pub struct Stopper<P: StopHost> {
    pub(super) works: WorkQueue<&'static dyn Work, P>,
    /// The work of this CPU in the stop that holds the stop mutex.
    pub(super) own: StopperNode,
    thread: Once<Arc<Thread<P>>>,
    /// It has masked IRQs for the stop that it goes through, and has run what was called
    /// before. Set by its own CPU, or by the one that counts that as still. Cleared before it
    /// leaves, so the next stop doesn't see it. Relaxed: for messages, nothing travels with it.
    still: AtomicBool,
    /// What kept this CPU from the stop that was given up last.
    held_up: SpinLock<Option<HeldUp>, P>,
}

impl<P: StopHost> Stopper<P> {
    /// Makes a disabled stopper without a thread.
    pub(crate) fn new() -> Self {
        Stopper {
            works: WorkQueue::new(),
            own: WorkNode::new(CurrentStop::<P>::work()),
            thread: Once::new(),
            still: AtomicBool::new(false),
            held_up: SpinLock::new(None),
        }
    }

    /// Says whether the CPU whose stopper it is has masked IRQs for its stop.
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

    /// Has it accept work.
    pub(super) fn enable(&self) {
        self.works.enable();
    }

    /// Queues `node`, if the stopper is enabled.
    #[must_use]
    pub(super) fn queue(&self, node: &'static StopperNode) -> bool {
        self.works.push(node)
    }

    /// Queues its part in the stop that holds the stop mutex.
    #[must_use]
    pub(super) fn queue_own(&'static self) -> bool {
        self.works.push(&self.own)
    }

    /// Takes its part in the stop back, if it has not begun; returns whether it was taken.
    #[must_use]
    pub(super) fn take_back_own(&'static self) -> bool {
        self.works.take_back(&self.own)
    }

    /// Notes what kept this CPU from a stop that is given up.
    pub(super) fn note_held_up(&self, held_up: HeldUp) {
        *self.held_up.lock_irqsave() = Some(held_up);
    }

    /// Returns what was noted, once.
    pub(super) fn take_held_up(&self) -> Option<HeldUp> {
        self.held_up.lock_irqsave().take()
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
        if let Some(node) = P::stop_machine().stopper(cpu).works.pop() {
            node.work().run(cpu);
        }
    }

    fn park(&self, cpu: CpuId) {
        let has_work = P::stop_machine().stopper(cpu).has_work();
        assert!(!has_work, "BUG: {cpu:?} goes, and its stopper has work"); // (accepted-runs)
    }
}
