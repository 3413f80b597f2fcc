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
//! A panic in a job ends the machine, as it does everywhere. So there is no result that says that
//! a job has panicked, and a scope ends when all its jobs have returned.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;

use crate::api::hotplug::{EnableStep, InstallError, Step};
use crate::api::task::TaskHandle;
use crate::api::task::tasks::with_value;
use crate::api::thread::JoinHandle;
use crate::kernel::entry::enter;
use crate::kernel::{Hw, kernel};
use crate::pool::Job;
use crate::sync::might_sleep_in;

use crew::{Crew, Outcome, with_outcome};

pub use crate::api::pool_scope::{PoolScope, ScopedJobHandle};

/// What is behind a pool.
pub(super) mod crew {
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    use crate::api::sync::{Completion, Mutex};
    use crate::api::task::tasks::Tasks;
    use crate::api::thread::{self, Builder, JoinHandle, Thread};
    use crate::cpu::{CpuId, PerCpu};
    use crate::errno::Errno;
    use crate::kernel::entry::enter;
    use crate::kernel::{Hw, kernel};
    use crate::platform::Platform;
    use crate::pool::{Board, CallApp, Home, Job, Next, Runner};
    use crate::sched::InKernel;
    use crate::sync::SpinLock;

    /// The workers of a pool, and what they share.
    pub(in crate::api) struct Crew {
        pub(super) board: Board<Hw>,
        /// The worker of each CPU that has been there, to be woken.
        threads: PerCpu<SpinLock<Option<Thread>, Hw>>,
        /// The same, to be joined.
        pub(super) workers: Mutex<Vec<JoinHandle<()>>>,
        pub(super) tasks: Tasks,
    }

    impl Crew {
        pub(super) fn new() -> Crew {
            let cpus = kernel().masks.possible().count();
            Crew {
                board: Board::new(cpus),
                threads: PerCpu::new(cpus, |_| SpinLock::new(None)),
                workers: Mutex::new(Vec::new()),
                tasks: Tasks::new(),
            }
        }

        /// Queues `job`.
        pub(in crate::api) fn give(&self, job: Arc<Job<Hw>>) {
            self.wake(self.board.push(job, Hw::this_cpu()));
        }

        /// Returns whether `runner` should go on with a job that it can pass on.
        pub(in crate::api) fn stays(&self, runner: Runner) -> bool {
            match runner {
                Runner::Worker(cpu) => self.board.is_serving(cpu),
                Runner::Waiter => true,
            }
        }

        pub(super) fn wake(&self, workers: impl IntoIterator<Item = CpuId>) {
            for cpu in workers {
                let worker = self.threads.get(cpu).lock_irqsave().clone();
                if let Some(worker) = worker {
                    worker.unpark();
                }
            }
        }

        /// Has the worker of `cpu` take jobs. If there is none, it is made; a worker that has left is
        /// kept.
        pub(super) fn begin(self: &Arc<Crew>, cpu: CpuId) -> Result<(), Errno> {
            let is_there = self.threads.get(cpu).lock_irqsave().is_some();
            if !is_there {
                let crew = Arc::clone(self);
                let worker = Builder::new()
                    .name(format_args!("pool/{cpu}"))
                    .spawn(move || crew.work(cpu))
                    .map_err(|_| Errno::NoMemory)?;
                *self.threads.get(cpu).lock_irqsave() = Some(worker.thread());
                self.workers.lock().push(worker);
            }
            self.board.open(cpu);
            self.wake([cpu]);
            Ok(())
        }

        /// The life of the worker of `cpu`.
        fn work(&self, cpu: CpuId) {
            let in_kernel = enter();
            loop {
                match self.board.next(cpu, Hw::this_cpu()) {
                    Next::Job(job, another) => {
                        self.wake(another);
                        run(job, Runner::Worker(cpu), &in_kernel);
                    }
                    Next::Rest => thread::park(),
                    Next::End => return,
                }
            }
        }

        /// Does `job`, for which this thread waits, unless another thread has begun it.
        pub(in crate::api) fn do_now(&self, job: Arc<Job<Hw>>, in_kernel: &InKernel<Hw>) {
            let started = self.board.start(&job);
            drop(job);
            if let Some(started) = started {
                started.run(Runner::Waiter, in_kernel);
            }
        }

        /// Does what waits.
        pub(super) fn help(&self, in_kernel: &InKernel<Hw>) {
            while let Some(job) = self.board.take_any(Hw::this_cpu()) {
                run(job, Runner::Waiter, in_kernel);
            }
        }
    }

    impl Home<Hw> for Crew {
        fn queue(&self, job: Arc<Job<Hw>>) {
            let _in_kernel = enter();
            self.give(job);
        }
    }

    impl CallApp for InKernel<Hw> {
        fn call<R>(&self, app_fn: impl FnOnce() -> R) -> R {
            self.call_app(app_fn)
        }
    }

    /// Does `job`, which has been taken out of its queue.
    fn run(job: Arc<Job<Hw>>, runner: Runner, in_kernel: &InKernel<Hw>) {
        let started = job.start();
        drop(job);
        if let Some(started) = started {
            started.run(runner, in_kernel);
        }
    }

    /// Where a job leaves its value.
    pub(in crate::api) struct Outcome<T> {
        value: SpinLock<Option<T>, Hw>,
        done: Completion,
    }

    impl<T> Outcome<T> {
        /// Waits for the value.
        pub(in crate::api) fn wait(&self) -> T {
            self.done.wait();
            let value = self.value.lock().take();
            value.expect("BUG: a job ended without a value")
        }

        pub(in crate::api) fn is_there(&self) -> bool {
            self.value.lock().is_some()
        }
    }

    /// Returns what a job does that calls `body`, and where its value will be.
    pub(in crate::api) fn with_outcome<T: Send, F: FnOnce(Runner) -> T + Send>(
        body: F,
    ) -> (impl FnOnce(Runner) + Send + use<T, F>, Arc<Outcome<T>>) {
        let outcome = Arc::new(Outcome {
            value: SpinLock::new(None),
            done: Completion::new(),
        });
        let its = Arc::clone(&outcome);
        let job_fn = move |runner| {
            let value = body(runner);
            let _in_kernel = enter();
            *its.value.lock() = Some(value);
            its.done.complete();
        };
        (job_fn, outcome)
    }
}

/// Workers that follow the CPUs online. Threads share it by reference, or in an `Arc`.
///
/// Dropping it waits until all its jobs and tasks have been done, then ends its workers.
///
/// # Panics
/// If it is dropped in one of its own jobs, or where [`Step::remove`] returns an error or may not
/// be called.
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

    /// Has a worker call `body`, once. Jobs are begun in the order in which they were given, as far
    /// as they are given on one CPU.
    ///
    /// # Context
    /// Thread; allocates.
    pub fn spawn<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> JobHandle<T> {
        let _in_kernel = enter();
        let (job_fn, outcome) = with_outcome(move |_| body());
        let job = Job::new(Box::new(job_fn));
        self.crew.give(Arc::clone(&job));
        JobHandle {
            crew: Arc::clone(&self.crew),
            job,
            outcome,
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
        let (future, handle) = with_value(future, self.crew.tasks.count());
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
        self.crew.tasks.wait_for_none();
        self.crew.help(&in_kernel);
        drop(self.step.take()); // The workers take no job from here on.
        self.crew.board.end();
        self.crew.wake(kernel().masks.possible().iter());
        let workers = core::mem::take(&mut *self.crew.workers.lock());
        workers.into_iter().for_each(JoinHandle::join);
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
}

impl<T> JobHandle<T> {
    /// Waits until the job has been done, and returns its value. If no worker has begun the job,
    /// the calling thread does it. So a job may join others of its pool.
    ///
    /// # Context
    /// Thread, preemption on. The thread holds no lock that the job takes.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> T {
        let in_kernel = enter();
        might_sleep_in::<Hw>("join");
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
