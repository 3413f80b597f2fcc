//! What a writer of the hotplug lock lends to the readers that it waits for.
//!
//! A reader is counted on its CPU, without its name. So a writer that has to wait walks over
//! the list of all threads, and lends its level to each that says of itself that it reads
//! ([`HeldCpusLock`](super::HeldCpusLock)). A reader that meets no writer pays nothing: it
//! says so anyway.
//! ```text
//!   reader                              writer
//!   ------                              ------
//!   says that it reads                  blocks the lock, fence
//!   counts itself, fence                a reader is counted?
//!   blocked? no: it has the lock          for each thread, under the lock of its loans:
//!   ...                                     it reads? lends
//!   says that it doesn't                  waits until all have left
//!   leaves, fence
//!   blocked, or lent to? yes: tells the
//!     writer, and gives back, under that
//!     lock
//! ```
//! A writer whose own level changes while it waits is woken, and walks again
//! (`change-wakes` of `inherit`). A thread that is raised while it waits for a mutex lends on.
//! Readers that wait for the writer need lend it nothing: a thread that brings CPUs up or takes them
//! down is at the level of the kernel's own threads (`walk-is-urgent` of
//! [`hotplug::operation`](crate::hotplug)).
//!
//! # Invariants
//! - **reader-is-marked**: a writer that has found the lock blocked by itself sees of each
//!   reader that has the lock that it reads. The reader said so before its own fence, after
//!   which it did not see the lock blocked (`reader-is-counted` of `reader_counts`).
//! - **leaver-gives-back**: a reader to which a writer has lent finds the lock blocked where it
//!   turns back or leaves: the writer waits for it. Or it had not counted itself yet, and
//!   counts itself when that writer has left: then it sees the loan where it leaves, because it
//!   has seen that the writer unblocked the lock after its walk. The reader says first that it
//!   doesn't read, and then gives back under the lock of its loans. A writer that comes behind
//!   that sees that it doesn't read.
//! - **no-loan-in-line**: a reader that waits for a writer has given back, under the lock under
//!   which writers block. It reads again where a writer lets it in, before the next writer
//!   blocks.
//! - **gives-up-in-line**: a reader that gives up leaves the line under the lock under which a
//!   writer lets readers in. So it is let in or it gives up, never both. It goes from "waits" to
//!   "doesn't read" in one step: no writer takes it for a reader, and lends to it, between.
//! - **gives-up-clean**: a writer that gives up takes its loans back before it unblocks the lock,
//!   whether a thread reads still or not. One that came before the writer and leaves after it
//!   has seen neither.
//!
//! `tests/loom_cpus_lock.rs` model-checks it.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::sched::class::NORMAL_LEVEL;
use crate::sched::lock::Heir;
use crate::sched::{SchedHost, Scheduler, Thread, ThreadName};

impl<P: SchedHost> Scheduler<P> {
    /// Lends `level` to each thread that reads under the hotplug lock, and takes back what a
    /// writer has lent before.
    ///
    /// # Context
    /// The writer that has blocked the lock.
    pub(super) fn lend_to_readers(&self, level: usize) {
        let threads = self.threads.lock_irqsave();
        let mut at = threads.front();
        while let Some(thread) = at.clone_pointer() {
            if thread.cpus_lock.reads() {
                thread.with_lenders(|lenders| {
                    if thread.cpus_lock.reads() {
                        lenders.lend_as_writer(level); // (leaver-gives-back)
                        lenders.settle(&thread);
                    }
                });
            }
            at.move_next();
        }
    }

    /// Takes back what a writer that gives up has lent. Also from threads that read no more: one
    /// that leaves when the writer has unblocked the lock may not see its loan.
    ///
    /// # Context
    /// The writer that has blocked the lock.
    pub(super) fn take_back_from_all(&self) {
        let threads = self.threads.lock_irqsave();
        let mut at = threads.front();
        while let Some(thread) = at.clone_pointer() {
            // (gives-up-clean)
            thread.with_lenders(|lenders| {
                lenders.lend_as_writer(NORMAL_LEVEL);
                lenders.settle(&thread);
            });
            at.move_next();
        }
    }

    /// Returns the name of a thread that reads under the hotplug lock, if there is one.
    pub(super) fn a_reader(&self) -> Option<ThreadName> {
        let mut name = None;
        self.for_each_thread(|thread| {
            if thread.cpus_lock.reads() {
                name = Some(*thread.name());
            }
        });
        name
    }

    /// Gives back what a writer has lent to `me`, the running thread.
    #[cold]
    pub(super) fn give_back_to_writer(&self, me: &Arc<Thread<P>>) {
        me.with_lenders(|lenders| {
            lenders.lend_as_writer(NORMAL_LEVEL);
            lenders.settle(me);
        });
    }
}
