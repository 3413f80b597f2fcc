//! The counts of a lock that is read all the time and written hardly ever: who reads
//! writes nothing but a word of its own CPU's.
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
//! - **reader-is-counted**: a reader that goes in without having seen `block` is in the
//!   sum that the writer makes. Both fences are needed (store buffering).
//! - **leaver-tells-writer**: a writer that found the reader in its sum is told when
//!   the reader leaves: it has set `block` before it looked. A writer that is told
//!   looks again, so a call too many is harmless.
//! - **own-cpu-counts**: a count is written by threads of its own CPU alone, with
//!   preemption off. A reader may leave on another CPU than it came on: a single count
//!   may be negative, their sum is not; so it goes over possible CPUs.
//! - **turns-back-unseen**: a reader that turns back leaves no trace: it came and went
//!   on one CPU.
//!
//! There is no grace period in here: who holds the lock to take a CPU down waits for
//! one elsewhere, and one inside the other would be slow, or never end.
//!
//! `tests/loom_cpus_lock.rs` model-checks this file.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, PerCpu};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

/// How many readers came minus how many went, by CPU; and whether a writer wants them
/// to stay out.
#[derive(Debug)]
pub struct ReaderCounts {
    /// Added to Relaxed, ordered by the fence behind it (reader-is-counted);
    /// taken from Release, and loaded Acquire by the writer: what a reader saw and did is over.
    counts: PerCpu<AtomicU32>,
    /// Stored Relaxed before the writer's fence (reader-is-counted), cleared Release: a
    /// reader that goes in, by its Acquire, sees what the writer did.
    block: AtomicBool,
}

impl ReaderCounts {
    /// No reader and no writer; for `cpus` CPUs.
    pub fn new(cpus: usize) -> ReaderCounts {
        ReaderCounts {
            counts: PerCpu::new(cpus, |_| AtomicU32::new(0)),
            block: AtomicBool::new(false),
        }
    }

    /// A reader comes. Returns whether it is in; if not, a writer must be told, which
    /// may have counted it.
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
        // Relaxed: it has looked at nothing, and telling the writer takes a lock
        // (turns-back-unseen).
        self.add(cpu, u32::MAX, Ordering::Relaxed);
        false
    }

    /// `readers` readers are let in by a writer that leaves, before it does.
    ///
    /// # Context
    /// On `cpu`, preemption off.
    pub fn let_in(&self, cpu: CpuId, readers: u32) {
        self.add(cpu, readers, Ordering::Relaxed);
    }

    /// A reader goes. Returns whether a writer must be told.
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

    /// A writer wants in: readers that come from now on turn back. One writer at a
    /// time.
    pub fn block(&self) {
        self.block.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst); // The writer's half (reader-is-counted, leaver-tells-writer).
    }

    /// Whether all readers have gone. The writer, after [`ReaderCounts::block`].
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let sum = self.counts.iter().fold(0_u32, |sum, (_, count)| {
            sum.wrapping_add(count.load(Ordering::Acquire))
        });
        sum == 0
    }

    /// The writer leaves.
    pub fn unblock(&self) {
        self.block.store(false, Ordering::Release);
    }

    /// Whether a writer is in, or wants in. For who holds the lock under which writers
    /// block and unblock.
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
