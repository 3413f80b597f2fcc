//! A job: a function that is called once.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use intrusive_collections::LinkedListAtomicLink;

use crate::cpu::CpuId;
use crate::sync::{LocalCpu, SpinLock};

/// Which thread does a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// The worker of this CPU, which may be on another one.
    Worker(CpuId),
    /// A thread that waits for the job.
    Waiter,
}

/// What a job does.
pub type JobFn = Box<dyn FnOnce(Runner) + Send>;

/// What a job does, taken out of the job by the thread that has to do it.
#[must_use = "the job isn't done otherwise"]
pub struct Started(JobFn);

impl Started {
    /// Does it.
    pub fn run(self, runner: Runner) {
        (self.0)(runner);
    }
}

/// A job, and its place in a queue.
pub struct Job<E: LocalCpu> {
    pub(super) link: LinkedListAtomicLink,
    /// `None` once it has been taken out (`run-once` of [`pool`](crate::pool)).
    work: SpinLock<Option<JobFn>, E>,
}

impl<E: LocalCpu> Job<E> {
    /// Returns a job that is in no queue. Allocates.
    pub fn new(job_fn: JobFn) -> Arc<Job<E>> {
        Arc::new(Job {
            link: LinkedListAtomicLink::new(),
            work: SpinLock::new(Some(job_fn)),
        })
    }

    /// Takes out what the job does; `None` if another thread has.
    ///
    /// # Context
    /// Thread.
    pub fn start(&self) -> Option<Started> {
        self.work.lock().take().map(Started)
    }

    /// Returns whether a thread has begun it.
    ///
    /// # Context
    /// Thread.
    pub fn has_started(&self) -> bool {
        self.work.lock().is_none()
    }
}

impl<E: LocalCpu> fmt::Debug for Job<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job { .. }")
    }
}
