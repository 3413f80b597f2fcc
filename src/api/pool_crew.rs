//! What is behind a pool: its workers, and what a job leaves.

/// The workers of a pool, and what they share.
pub(super) mod crew {
    use alloc::boxed::Box;
    use alloc::sync::Arc;

    use crate::api::sync::Completion;
    use crate::api::task::tasks::Tasks;
    use crate::api::thread::Builder;
    use crate::cpu::{CpuId, PerCpu};
    use crate::errno::Errno;
    use crate::kernel::entry::enter;
    use crate::kernel::{Hw, kernel};
    use crate::platform::Platform;
    use crate::pool::{Board, CallApp, Home, Job, Next, Runner};
    use crate::sched::{InKernel, Thread, run_app};
    use crate::sync::SpinLock;

    /// A worker, and where it sleeps.
    struct Worker {
        /// `None` until its CPU is there for the first time.
        thread: SpinLock<Option<Arc<Thread<Hw>>>, Hw>,
        /// Its own place: a permit of the thread belongs to its jobs.
        bell: Completion,
    }

    /// The workers of a pool, and what they share.
    pub(in crate::api) struct Crew {
        pub(in crate::api) board: Board<Hw>,
        workers: PerCpu<Worker>,
        pub(in crate::api) tasks: Tasks,
    }

    impl Crew {
        pub(in crate::api) fn new() -> Crew {
            let cpus = kernel().masks.possible().count();
            Crew {
                board: Board::new(cpus),
                workers: PerCpu::new(cpus, |_| Worker {
                    thread: SpinLock::new(None),
                    bell: Completion::new(),
                }),
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

        pub(in crate::api) fn wake(&self, workers: impl IntoIterator<Item = CpuId>) {
            for cpu in workers {
                self.workers.get(cpu).bell.complete();
            }
        }

        /// Has the worker of `cpu` take jobs. If there is none, it is made; a worker that has left is
        /// kept.
        pub(in crate::api) fn begin(self: &Arc<Crew>, cpu: CpuId) -> Result<(), Errno> {
            let worker = self.workers.get(cpu);
            let is_there = worker.thread.lock_irqsave().is_some();
            if !is_there {
                let crew = Arc::clone(self);
                let started = Builder::new()
                    .name(format_args!("pool/{cpu}"))
                    .start(Box::new(move || run_app::<Hw, ()>(|| crew.work(cpu))));
                *worker.thread.lock_irqsave() = Some(started.map_err(|_| Errno::NoMemory)?);
            }
            self.board.open(cpu);
            self.wake([cpu]);
            Ok(())
        }

        /// The life of the worker of `cpu`. To the lock validator it is no work that others wait for:
        /// its jobs are.
        fn work(&self, cpu: CpuId) {
            let in_kernel = enter();
            let bell = &self.workers.get(cpu).bell;
            loop {
                match self.board.next(cpu, Hw::this_cpu()) {
                    Next::Job(job, another) => {
                        self.wake(another);
                        run(job, Runner::Worker(cpu), &in_kernel);
                    }
                    Next::Rest => {
                        bell.wait();
                        bell.reset(); // What has rung so far is answered by the next look.
                    }
                    Next::End => return,
                }
            }
        }

        /// # Panics
        /// In a worker: its end is what a drop of the pool waits for.
        pub(in crate::api) fn assert_is_none_of_its_workers(&self) {
            let me = kernel().sched.current();
            let mut threads = self.workers.iter().map(|(_, worker)| &worker.thread);
            let is_one = threads.any(|thread| {
                let thread = thread.lock_irqsave();
                thread.as_ref().is_some_and(|it| Arc::ptr_eq(it, &me))
            });
            assert!(
                !is_one,
                "BUG: {me:?} drops a pool in one of that pool's own jobs or tasks, whose end the drop waits for"
            );
        }

        /// Waits until the workers have ended, which have been told to.
        pub(in crate::api) fn wait_for_workers(&self) {
            for (_, worker) in self.workers.iter() {
                let thread = worker.thread.lock_irqsave().take();
                if let Some(thread) = thread {
                    thread.wait_until_dead();
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
        pub(in crate::api) fn help(&self, in_kernel: &InKernel<Hw>) {
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
}

/// What a job leaves, and what is said of it.
pub(super) mod outcome {
    use alloc::sync::Arc;

    use crate::api::sync::Completion;
    use crate::kernel::entry::enter;
    use crate::kernel::{Hw, kernel};
    use crate::pool::Runner;
    use crate::sync::{LockMap, SpinLock};

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

    /// What jobs that call one function have in common.
    pub(in crate::api) struct Kind {
        name: &'static str,
        /// Their work, for the lock validator.
        pub(in crate::api) work: LockMap,
    }

    impl Kind {
        /// Returns the kind of the jobs that call `body`.
        #[cfg_attr(debug_assertions, track_caller)]
        pub(in crate::api) fn of<F>(body: &F) -> Kind {
            Kind {
                name: core::any::type_name::<F>(),
                work: LockMap::of(body),
            }
        }

        fn same(&self) -> Kind {
            Kind {
                name: self.name,
                work: self.work.same(),
            }
        }

        /// Calls `app_fn`, a part of such a job.
        ///
        /// # Panics
        /// If it has forgotten a guard that keeps its thread on a CPU.
        pub(in crate::api) fn call<R>(&self, app_fn: impl FnOnce() -> R) -> R {
            let was_pinned = is_pinned();
            let result = app_fn();
            assert!(
                was_pinned || !is_pinned(),
                "BUG: {} has forgotten a guard of migrate_disable: its thread's CPU could never go",
                self.name
            );
            result
        }
    }

    fn is_pinned() -> bool {
        let _in_kernel = enter();
        kernel().sched.with_current(|me| me.is_pinned())
    }

    /// Returns what a job of `kind` does that calls `body`, and where its value will be.
    pub(in crate::api) fn with_outcome<T: Send, F: FnOnce(Runner) -> T + Send>(
        kind: &Kind,
        body: F,
    ) -> (impl FnOnce(Runner) + Send + use<T, F>, Arc<Outcome<T>>) {
        let outcome = Arc::new(Outcome {
            value: SpinLock::new(None),
            done: Completion::new(),
        });
        let its = Arc::clone(&outcome);
        let kind = kind.same();
        let job_fn = move |runner| {
            // A thread that waits for the job has told so. It may do many, one inside of another.
            let working = match runner {
                Runner::Worker(_) => Some(kind.work.work::<Hw>()),
                Runner::Waiter => None,
            };
            let value = kind.call(|| body(runner));
            drop(working);
            let _in_kernel = enter();
            *its.value.lock() = Some(value);
            its.done.complete();
        };
        (job_fn, outcome)
    }
}
