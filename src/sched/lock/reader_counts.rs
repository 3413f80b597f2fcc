//! The counts of a lock that is read often and written rarely: a reader writes only one
//! word of its own CPU.
//!
//! ```text
//!   reader, preemption off                 writer
//!   ──────────────────────                 ──────
//!   own count + 1                          block = 1
//!   fence(SeqCst)    reader-is-counted     fence(SeqCst)
//!   block (Acquire)? 0: it reads           sum of all counts (Acquire) 0? it writes
//!                    1: own count - 1              else waits until a reader tells it
//!   ...
//!   own count - 1 (Release)                block = 0 (Release)
//!   fence(SeqCst)   leaver-tells-writer
//!   block? 1: tells the writer
//! ```
//!
//! # Invariants
//! - **reader-is-counted**: a reader that enters without having seen `block` is in the
//!   sum that the writer computes. Both fences are needed (store buffering).
//! - **leaver-tells-writer**: a writer that found the reader in its sum is woken when
//!   the reader leaves: the writer set `block` before it read the counts. A woken
//!   writer reads the sum again, so a spurious wake-up is harmless.
//! - **own-cpu-counts**: a count is written only by threads of its own CPU, with
//!   preemption off. A reader may leave on another CPU than it came on. So a single
//!   count may be negative, but their sum is not, and the sum is over all possible
//!   CPUs.
//! - **turns-back-unseen**: a reader that turns back leaves no trace: it came and left
//!   on one CPU.
//!
//! Taking this lock needs no grace period. Hotplug waits for a grace period while it
//! holds the lock to take a CPU down; one inside the other would be slow, or never end.
//!
//! `tests/loom_cpus_lock.rs` model-checks this file.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, PerCpu};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

/// For each CPU, the number of readers that came minus the number that left; and
/// whether a writer keeps readers out.
#[derive(Debug)]
pub struct ReaderCounts {
    /// For each CPU, the number of readers that came minus the number that left.
    /// Incremented Relaxed, ordered by the fence behind it (reader-is-counted).
    /// Decremented Release, and loaded Acquire by the writer: what a reader saw and did
    /// is over.
    counts: PerCpu<AtomicU32>,
    /// Whether a writer keeps readers out. Stored Relaxed before the writer's fence
    /// (reader-is-counted), cleared Release: a reader that enters sees, by its Acquire,
    /// what the writer did.
    block: AtomicBool,
}

impl ReaderCounts {
    /// Returns the counts for `cpus` CPUs, without a reader or a writer.
    pub fn new(cpus: usize) -> ReaderCounts {
        ReaderCounts {
            counts: PerCpu::new(cpus, |_| AtomicU32::new(0)),
            block: AtomicBool::new(false),
        }
    }

    /// Counts a reader that comes. Returns whether it may enter. If not, the caller
    /// must wake the writer, which may have counted the reader.
    ///
    /// # Context
    /// On `cpu`, preemption off until it returns.
    #[inline]
    #[must_use]
    pub fn try_enter(&self, cpu: CpuId) -> bool {
        self.add(cpu, 1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // The reader's half (reader-is-counted).
        if !self.block.load(Ordering::Acquire) {
            return true;
        }
        // Relaxed: the reader has read nothing, and waking the writer takes a lock
        // (turns-back-unseen).
        self.add(cpu, u32::MAX, Ordering::Relaxed);
        false
    }

    /// Counts `readers` readers that a writer lets in before it leaves.
    ///
    /// # Context
    /// On `cpu`, preemption off.
    pub fn let_in(&self, cpu: CpuId, readers: u32) {
        self.add(cpu, readers, Ordering::Relaxed);
    }

    /// Counts a reader that leaves. Returns whether the caller must wake the writer.
    ///
    /// # Context
    /// On `cpu`, preemption off until it returns.
    #[inline]
    #[must_use]
    pub fn leave(&self, cpu: CpuId) -> bool {
        self.add(cpu, u32::MAX, Ordering::Release);
        fence(Ordering::SeqCst); // The reader's half (leaver-tells-writer).
        self.block.load(Ordering::Relaxed)
    }

    /// Blocks the lock for a writer: readers that come from now on turn back. One
    /// writer at a time.
    pub fn block(&self) {
        self.block.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst); // The writer's half (reader-is-counted, leaver-tells-writer).
    }

    /// Returns whether all readers have left.
    ///
    /// # Context
    /// The writer, after [`ReaderCounts::block`].
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let sum = self.counts.iter().fold(0_u32, |sum, (_, count)| {
            sum.wrapping_add(count.load(Ordering::Acquire))
        });
        sum == 0
    }

    /// Opens the lock again, when the writer leaves.
    pub fn unblock(&self) {
        self.block.store(false, Ordering::Release);
    }

    /// Returns whether a writer has the lock or waits for it.
    ///
    /// # Context
    /// Under the lock under which writers block and unblock.
    pub fn is_blocked(&self) -> bool {
        self.block.load(Ordering::Relaxed)
    }

    /// A load and a store suffice (own-cpu-counts).
    #[inline]
    fn add(&self, cpu: CpuId, what: u32, order: Ordering) {
        let count = self.counts.get(cpu);
        let value = count.load(Ordering::Relaxed).wrapping_add(what);
        count.store(value, order);
    }
}
