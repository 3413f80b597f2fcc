//! Lines of the log about threads whose CPUs have all gone.
//!
//! Where a thread is woken, its new CPU is chosen, and so it comes out there that the CPUs of its
//! affinity have gone. That is often in an interrupt handler, and a line takes a console
//! milliseconds, in which no other thread of that CPU would run. So the line is only noted there.
//! A CPU logs the notes when it is idle, or when it has finished an operation of hotplug.

#![forbid(unsafe_code)]

use crate::cpu::CpuMask;
use crate::platform::ThreadName;
use crate::sched::{SchedHost, Scheduler};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{IrqGuard, SpinLock};

/// How many notes are kept. Of more threads only the number is logged.
const NOTES: usize = 8;

/// A thread, and the CPUs of its affinity, which have gone.
type Note = (ThreadName, CpuMask);

/// What is to be logged.
#[derive(Default)]
struct Notes {
    notes: [Option<Note>; NOTES],
    /// How many threads came when there was no room for a note.
    more: usize,
}

/// The notes of threads that have parted from the CPUs of their affinity.
pub(super) struct Parted<P: SchedHost> {
    notes: SpinLock<Notes, P>,
    /// Whether there is a note. Relaxed: a hint. The CPU that has made a note sees it when it is
    /// idle next.
    any: AtomicBool,
}

impl<P: SchedHost> Parted<P> {
    pub(super) fn new() -> Self {
        Parted {
            notes: SpinLock::new(Notes::default()),
            any: AtomicBool::new(false),
        }
    }

    /// Notes that the thread `name` may run anywhere now, because `cpus` have gone.
    pub(super) fn note(&self, name: ThreadName, cpus: &CpuMask, masked: &IrqGuard<P>) {
        let mut notes = self.notes.lock_masked(masked);
        match notes.notes.iter_mut().find(|note| note.is_none()) {
            Some(free) => *free = Some((name, *cpus)),
            None => notes.more += 1,
        }
        self.any.store(true, Ordering::Relaxed);
    }

    /// Returns whether there is a note.
    #[inline]
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn take(&self) -> Notes {
        let mut notes = self.notes.lock_irqsave();
        self.any.store(false, Ordering::Relaxed);
        core::mem::take(&mut notes)
    }
}

impl<P: SchedHost> Scheduler<P> {
    /// Logs the threads that may run anywhere now because their CPUs have gone.
    ///
    /// # Context
    /// Thread, the idle one too, IRQs on.
    pub fn say_parted(&self) {
        if self.parted.any() {
            self.log_parted();
        }
    }

    #[cold]
    #[inline(never)] // The idle loop needs none of its registers saved.
    pub(super) fn log_parted(&self) {
        let Notes { notes, more } = self.parted.take();
        for (name, cpus) in notes.into_iter().flatten() {
            // The wording is Linux's: the CPUs of the affinity have gone down, and need
            // not include the CPU where the thread ran last.
            log::warn!("thread {name} no longer affine to cpu{cpus}");
        }
        if more > 0 {
            log::warn!("{more} more threads no longer affine to CPUs that have gone");
        }
    }
}
