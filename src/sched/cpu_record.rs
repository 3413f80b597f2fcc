//! What the scheduler keeps of one CPU beside its run queue.

#![forbid(unsafe_code)]

use crate::sched::SchedHost;
use crate::sched::class::NORMAL_LEVEL;
use crate::sched::lock::Completion;
use crate::sched::waits::Waits;
use crate::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};

/// The record of one CPU.
pub(super) struct CpuRecord<P: SchedHost> {
    /// Number of movable threads queued here, for CPUs that look for work. Relaxed: a
    /// hint, stored under the run-queue lock.
    pub(super) waiting: AtomicU64,
    /// How long they have waited.
    pub(super) waits: Waits,
    /// The level of the most urgent movable realtime thread that waits here. Relaxed: a
    /// hint, stored under the run-queue lock.
    pub(super) waiting_level: AtomicUsize,
    /// Number of threads that are pinned here. Relaxed: only this CPU writes it, with
    /// preemption off; its own `cpuhp/N` reads it.
    pub(super) pinned: AtomicU32,
    /// Number of threads that keep this CPU from going down. Relaxed: it is incremented
    /// only by a caller that holds off hotplug. A stale value that is too high only
    /// causes a refusal that was no longer needed.
    pub(super) bound: AtomicU32,
    /// Completed when a thread drops its pin on a CPU that is not active.
    pub(super) let_go: Completion<P>,
}

impl<P: SchedHost> CpuRecord<P> {
    /// Makes the record of a CPU on which nothing waits.
    pub(super) fn new() -> Self {
        CpuRecord {
            waiting: AtomicU64::new(0),
            waits: Waits::new(),
            waiting_level: AtomicUsize::new(NORMAL_LEVEL),
            pinned: AtomicU32::new(0),
            bound: AtomicU32::new(0),
            let_go: Completion::new(),
        }
    }
}
