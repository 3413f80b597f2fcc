//! A pool: jobs that are done on the CPUs that are there.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/pool.rs")]
//! ```
//! A pool has a worker for each CPU. When a CPU goes, its worker takes no job any more: what waits
//! on the CPU is done by the others, and a job that the worker is in the middle of goes on on
//! another CPU, as any thread does. Hotplug doesn't wait for it. When a CPU comes, its worker
//! takes its share. Each job is done exactly once, whatever comes and goes.
//!
//! Workers are ordinary threads that may run on any CPU; the scheduler has them run where there is
//! room. So there are as many jobs at work as there are CPUs. A job may wait, as any thread may;
//! its worker takes no other one meanwhile. Jobs that wait for each other by other means than
//! [`JobHandle::join`] and [`Pool::scope`] may have no worker that does the last of them.
//!
//! A job has its thread only for a while: the niceness, class or affinity that it sets stay for later
//! jobs, so a job that changes them puts them back. A permit that comes too late for a job
//! ([`thread::park`](crate::api::thread::park)) is there for a later one.
//!
//! A panic in a job ends the machine, as it does everywhere. So there is no result that says that
//! a job has panicked, and a scope ends when all its jobs have returned.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;

use crate::api::hotplug::{EnableStep, InstallError, Step};
use crate::api::pool_crew::crew::Crew;
use crate::api::pool_crew::outcome::{Kind, Outcome, with_outcome};
use crate::api::task::TaskHandle;
use crate::api::task::tasks::with_value;
use crate::kernel::entry::enter;
use crate::kernel::{Hw, kernel};
use crate::pool::Job;
use crate::sync::{LockMap, might_sleep_in};

pub use crate::api::pool_scope::{PoolScope, ScopedJobHandle};

/// Workers that follow the CPUs online. Threads share it by reference, or in an `Arc`.
///
/// Dropping it waits until all its jobs and tasks have been done, then ends its workers.
///
/// # Panics
/// If a worker drops it, in one of the pool's own jobs or tasks: let another thread hold the last
/// reference of an `Arc`. Or where [`Step::remove`] returns an error or may not be called, such as
/// under [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock), for which a task may wait.
pub struct Pool {
    crew: Arc<Crew>,
    /// By which the workers follow the CPUs. `None` only while it is made, and inside `drop`.
    step: Option<Step>,
}

impl Pool {
    /// Returns a pool with a worker for each CPU that is online, and for each that comes later. In
    /// the state table it is the step `enable:pool`.
    ///
    /// A CPU for which no worker can be made, because no stack is left, doesn't come up.
    ///
    /// # Context
    /// As [`EnableStep::install`].
    ///
    /// # Errors
    /// [`InstallError`]: no slot of the table is free, or no stack is left for a worker.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn new() -> Result<Pool, InstallError> {
        let _in_kernel = enter();
        let mut pool = Pool {
            crew: Arc::new(Crew::new()),
            step: None,
        };
        let (comes, goes) = (Arc::clone(&pool.crew), Arc::clone(&pool.crew));
        let step = EnableStep::new("pool")
            .startup(move |cpu| comes.begin(cpu))
            .teardown(move |cpu| {
                goes.wake(goes.board.close(cpu).iter());
                Ok(())
            });
        pool.step = Some(step.install()?);
        Ok(pool)
    }

    /// Has a worker call `body`, once. Jobs that were given on one CPU are mostly begun in that
    /// order. But a join begins its job at once, and those that waited on a CPU which went may be
    /// begun after others that were given there when it was back.
    ///
    /// # Context
    /// Thread; allocates.
    ///
    /// # Panics
    /// The job, if `body` has forgotten ([`core::mem::forget`]) the guard of
    /// [`migrate_disable`](crate::api::thread::migrate_disable): its worker's CPU could never go.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn spawn<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> JobHandle<T> {
        let _in_kernel = enter();
        let kind = Kind::of(&body);
        let (job_fn, outcome) = with_outcome(&kind, move |_| body());
        let job = Job::new(Box::new(job_fn));
        self.crew.give(Arc::clone(&job));
        JobHandle {
            crew: Arc::clone(&self.crew),
            job,
            outcome,
            work: kind.work,
        }
    }

    /// Has workers poll `future` until it has its value: now, and each time that it has been woken.
    /// A worker whose CPU goes ends the poll that it is in, and others do the rest.
    ///
    /// The wakers that the future is polled with may be called anywhere, an interrupt handler
    /// included. A future that is never woken again keeps the pool from being dropped.
    ///
    /// ```no_run
    #[doc = include_str!("../../examples/api/tasks.rs")]
    /// ```
    ///
    /// # Context
    /// Thread, preemption on; allocates.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn spawn_async<F>(&self, future: F) -> TaskHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let _in_kernel = enter();
        let kind = Kind::of(&future);
        let (future, handle) = with_value(future, kind, self.crew.tasks.count());
        let home = Arc::clone(&self.crew);
        self.crew.give(Job::task(Box::pin(future), home));
        handle
    }

    pub(super) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let in_kernel = enter();
        self.crew.assert_is_none_of_its_workers();
        // Before the waits: a task may want the lock.
        let may = self
            .step
            .as_ref()
            .map_or(Ok(()), |_| kernel().hotplug.may_add_or_remove());
        if let Err(why) = may {
            panic!("BUG: a pool is dropped in a thread that {why}");
        }
        self.crew.tasks.wait_for_none();
        self.crew.help(&in_kernel);
        drop(self.step.take()); // The workers take no job from here on.
        self.crew.board.end();
        self.crew.wake(kernel().masks.possible().iter());
        self.crew.wait_for_workers();
        self.crew.help(&in_kernel); // What the last jobs have given.
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// A handle that returns the value of a job. If it is dropped, the job is done all the same.
///
/// ```no_run
#[doc = include_str!("../../examples/api/jobs.rs")]
/// ```
pub struct JobHandle<T> {
    pub(super) crew: Arc<Crew>,
    pub(super) job: Arc<Job<Hw>>,
    pub(super) outcome: Arc<Outcome<T>>,
    /// The job's work, for the lock validator.
    pub(super) work: LockMap,
}

impl<T> JobHandle<T> {
    /// Waits until the job has been done, and returns its value. If no worker has begun the job,
    /// the calling thread does it. So a job may join others of its pool.
    ///
    /// # Context
    /// Thread, preemption on. The thread holds no lock that the job takes.
    ///
    /// # Panics
    /// In a debug build, if it holds a lock that a job of that function has taken in a worker.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> T {
        let in_kernel = enter();
        might_sleep_in::<Hw>("join");
        self.work.wait::<Hw>();
        self.crew.do_now(self.job, &in_kernel);
        self.outcome.wait()
    }

    /// Returns whether the job has been done: [`JobHandle::join`] would not wait. What the job did
    /// is visible to the caller then.
    ///
    /// # Context
    /// Thread.
    pub fn is_finished(&self) -> bool {
        let _in_kernel = enter();
        self.outcome.is_there()
    }
}

impl<T> fmt::Debug for JobHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle").finish_non_exhaustive()
    }
}
