//! What a thread has used of the machine so far: counters for display.

#![forbid(unsafe_code)]

use crate::sched::{SchedHost, Scheduler, SwitchReason, Thread};
use crate::sync::IrqGuard;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Counters of one thread. Relaxed: only a holder of the lock of the run queue to which
/// the thread belongs writes them; a reader gets a value of a moment ago.
#[derive(Debug)]
pub(crate) struct Counters {
    ticks: AtomicU64,
    waits: AtomicU64,
    preemptions: AtomicU64,
    migrations: AtomicU64,
}

/// What a thread has used, as of a moment ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// For how long it has had a CPU, in ticks of the counter. The time of the interrupts
    /// that came meanwhile is in it.
    pub ticks: u64,
    /// How often it gave its CPU away by itself: it waited, parked or yielded. Linux
    /// calls these voluntary switches.
    pub waits: u64,
    /// How often it lost its CPU to another thread.
    pub preemptions: u64,
    /// How often it was moved to another CPU.
    pub migrations: u64,
}

impl<P: SchedHost> Scheduler<P> {
    /// Returns what `thread` has used up to now.
    ///
    /// # Context
    /// Any.
    pub fn usage(&self, thread: &Thread<P>) -> Usage {
        let masked = IrqGuard::<P>::new();
        let mut queue = self.lock_queue_of(thread, &masked);
        if core::ptr::eq(queue.current().as_ref(), thread) {
            queue.charge_current();
        }
        thread.usage()
    }
}

impl Counters {
    pub(crate) fn new() -> Counters {
        Counters {
            ticks: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            preemptions: AtomicU64::new(0),
            migrations: AtomicU64::new(0),
        }
    }

    /// Returns all of them.
    pub(crate) fn get(&self) -> Usage {
        Usage {
            ticks: self.ticks.load(Ordering::Relaxed),
            waits: self.waits.load(Ordering::Relaxed),
            preemptions: self.preemptions.load(Ordering::Relaxed),
            migrations: self.migrations.load(Ordering::Relaxed),
        }
    }

    #[inline]
    pub(crate) fn charge(&self, ticks: u64) {
        add(&self.ticks, ticks);
    }

    /// Counts that another thread gets the thread's CPU.
    #[inline]
    pub(crate) fn leaves(&self, reason: SwitchReason) {
        match reason {
            SwitchReason::GivesAway => add(&self.waits, 1),
            SwitchReason::MayBePreempted => add(&self.preemptions, 1),
        }
    }

    #[inline]
    pub(crate) fn migrates(&self) {
        add(&self.migrations, 1);
    }
}

/// Adds `what` to a counter that nothing else writes meanwhile.
#[inline]
fn add(counter: &AtomicU64, what: u64) {
    let value = counter.load(Ordering::Relaxed).wrapping_add(what);
    counter.store(value, Ordering::Relaxed);
}
