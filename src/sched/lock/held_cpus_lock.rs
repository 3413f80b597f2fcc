//! How a thread holds the lock of the CPUs. The thread keeps it, so that a wait for the
//! lock that would never end is found before it begins, and that a writer that waits knows
//! to which threads it lends its level: `reader_loans`.

#![forbid(unsafe_code)]

use core::fmt;

use crate::sync::atomic::{AtomicU32, Ordering};

/// The value of a thread that holds the lock for writing.
const WRITES: u32 = u32::MAX;

/// Bit: the thread waits for a writer to let it in.
const WAITS: u32 = 1 << 30;

/// How often a thread holds the lock for reading or is about to, and whether it waits for a
/// writer to let it in; or that it holds the lock for writing.
///
/// Relaxed: only the thread itself changes it, or a writer that lets it in, under the lock of
/// the readers that wait. Another writer reads it, which a fence or the lock of the thread's
/// loans orders (`reader-is-marked` and `leaver-gives-back` of `reader_loans`).
#[derive(Debug)]
pub struct HeldCpusLock(AtomicU32);

impl HeldCpusLock {
    /// Returns the state of a thread that doesn't hold the lock.
    #[must_use]
    pub fn new() -> HeldCpusLock {
        HeldCpusLock(AtomicU32::new(0))
    }

    /// Returns whether the thread holds the lock.
    #[inline]
    pub(in crate::sched) fn is_held(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Returns whether the thread holds the lock for reading or is about to, as far as a
    /// writer must know.
    pub fn reads(&self) -> bool {
        let held = self.0.load(Ordering::Relaxed);
        held != 0 && held < WAITS
    }

    /// Counts one more read, before the reader counts itself.
    #[inline]
    pub fn begin_read(&self) {
        self.0
            .store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Takes [`HeldCpusLock::begin_read`] back, before the reader leaves.
    #[inline]
    pub fn end_read(&self) {
        self.0
            .store(self.0.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }

    /// Records that the thread waits to be let in.
    pub fn wait(&self) {
        self.0
            .store(self.0.load(Ordering::Relaxed) | WAITS, Ordering::Relaxed);
    }

    /// Records that a writer lets the thread in.
    pub fn let_in(&self) {
        self.0
            .store(self.0.load(Ordering::Relaxed) & !WAITS, Ordering::Relaxed);
    }

    /// Records that the thread waits no longer, and doesn't read either. One store: between two
    /// a writer could take it for a reader (`no-loan-in-line` of `reader_loans`).
    pub fn give_up(&self) {
        self.0.store(
            (self.0.load(Ordering::Relaxed) & !WAITS) - 1,
            Ordering::Relaxed,
        );
    }

    /// Records that the thread holds the lock for writing.
    pub(super) fn begin_write(&self) {
        self.0.store(WRITES, Ordering::Relaxed);
    }

    pub(super) fn end_write(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Default for HeldCpusLock {
    fn default() -> Self {
        Self::new()
    }
}

/// Why the running thread may not wait for the lock of the CPUs: the wait would never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)] // A byte beside a guard in a `Result` would have the guard copied byte by byte.
pub enum WouldDeadlock {
    /// The thread holds the lock itself.
    HoldsIt,
    /// The thread is a per-CPU thread. The control CPU's thread that takes that CPU
    /// down holds the lock, and waits until the per-CPU thread has parked.
    PerCpu,
    /// The thread is pinned to its CPU: the lock's holder may take that CPU down, and wait
    /// for the pin's end.
    Pinned,
    /// The thread holds the add/remove lock: it registers by hand, or it runs a callback of
    /// `prep:post-dead`.
    AddsOrRemoves,
}

impl fmt::Display for WouldDeadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WouldDeadlock::HoldsIt => "takes the lock of the CPUs, and holds it",
            WouldDeadlock::PerCpu => {
                "takes the lock of the CPUs, and the holder waits for this thread to park"
            }
            WouldDeadlock::Pinned => "takes the lock of the CPUs while it keeps one from going",
            WouldDeadlock::AddsOrRemoves => "takes the add/remove lock of hotplug, and holds it",
        })
    }
}

impl core::error::Error for WouldDeadlock {}
