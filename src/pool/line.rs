//! Jobs that wait in a line: the oldest is taken first, and any of them can leave.
//!
//! A job keeps the [`Ticket`] that it got when it came last. The tree of a line is ordered by the
//! tickets' numbers, so that a job which leaves is found without a look at those before it.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use intrusive_collections::{KeyAdapter, RBTree};

use crate::config::MAX_CPUS;
use crate::pool::Job;
use crate::pool::job_link::JobLink;
use crate::sync::LocalCpu;
use crate::sync::atomic::{AtomicU64, Ordering};

/// How many of a ticket's bits are the number: a job in each nanosecond fills them in 52 days.
const NUMBER_BITS: u32 = 52;

/// The others are the index of the line: a CPU's, or the next one.
const _: () = assert!((MAX_CPUS as u64) < 1 << (u64::BITS - NUMBER_BITS));

/// Which line a job came to last, and as which.
///
/// Relaxed: it is written under the lock of that line, before the job is in it, and the holders of
/// that lock read it. A thread that has begun the job reads it too: see `no-done-entry` of
/// [`pool`](crate::pool).
pub(super) struct Ticket(AtomicU64);

impl Ticket {
    /// Returns the ticket of a job that has been in no line.
    pub(super) fn new() -> Ticket {
        Ticket(AtomicU64::new(0))
    }

    /// Returns the index of the line, which the job may have left.
    pub(super) fn line(&self) -> usize {
        (self.get() >> NUMBER_BITS) as usize
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl<E: LocalCpu + 'static> KeyAdapter<'_> for JobLink<E> {
    type Key = u64;

    fn get_key(&self, job: &Job<E>) -> u64 {
        job.ticket.get()
    }
}

/// Jobs that wait. It is under a lock.
pub(super) struct Line<E: LocalCpu + 'static> {
    jobs: RBTree<JobLink<E>>,
    /// The last ticket that was given out.
    last: u64,
}

impl<E: LocalCpu + 'static> Line<E> {
    /// Returns an empty line. `index` is among those of a board, so it fits.
    pub(super) fn new(index: usize) -> Line<E> {
        Line {
            jobs: RBTree::new(JobLink::new()),
            last: (index as u64) << NUMBER_BITS,
        }
    }

    /// Adds `job` behind all others.
    ///
    /// # Panics
    /// If the job is in a line.
    pub(super) fn push_back(&mut self, job: Arc<Job<E>>) {
        assert!(!job.link.is_linked(), "BUG: a job is queued twice");
        self.last += 1;
        job.ticket.set(self.last);
        self.jobs.back_mut().insert_after(job);
    }

    /// Takes out the oldest.
    pub(super) fn pop_front(&mut self) -> Option<Arc<Job<E>>> {
        self.jobs.front_mut().remove()
    }

    /// Takes out `job`, if it is here.
    pub(super) fn remove(&mut self, job: &Job<E>) -> Option<Arc<Job<E>>> {
        let mut found = self.jobs.find_mut(&job.ticket.get());
        let is_it = found.get().is_some_and(|it| core::ptr::eq(it, job));
        if is_it { found.remove() } else { None }
    }

    /// Returns how many wait.
    #[cfg(all(test, not(loom)))]
    pub(super) fn count(&self) -> usize {
        self.jobs.iter().count()
    }
}
