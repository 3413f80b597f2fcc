//! Jobs that borrow from their caller's frame, and loops whose turns are jobs.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;

use crate::api::pool::{JobHandle, Pool};
use crate::api::pool_crew::outcome::{Kind, with_outcome};
use crate::kernel::entry::enter;
use crate::kernel::{Hw, kernel};
use crate::pool::{Job, JobFn, Runner};
use crate::sync::might_sleep_in;

use jobs::Jobs;
use turns::Turns;

mod jobs {
    use alloc::collections::VecDeque;
    use alloc::sync::Arc;

    use crate::api::pool_crew::crew::Crew;
    use crate::api::sync::{Condvar, Mutex};
    use crate::kernel::Hw;
    use crate::pool::Job;
    use crate::sched::InKernel;

    /// The jobs of a scope.
    pub(super) struct Jobs {
        state: Mutex<JobsState>,
        /// Notified when a job is added, and when none is left.
        changed: Condvar,
    }

    struct JobsState {
        /// How many have not been done.
        left: usize,
        /// Those that have perhaps not been begun.
        waiting: VecDeque<Arc<Job<Hw>>>,
    }

    impl Jobs {
        pub(super) fn new() -> Jobs {
            Jobs {
                state: Mutex::new(JobsState {
                    left: 0,
                    waiting: VecDeque::new(),
                }),
                changed: Condvar::new(),
            }
        }

        /// Counts a job, before a worker can finish it.
        pub(super) fn count(&self) {
            self.state.lock().left += 1;
        }

        /// Has the scope do `job`, which is in a queue, unless a worker begins it before.
        pub(super) fn add(&self, job: &Arc<Job<Hw>>) {
            let mut state = self.state.lock();
            if state.waiting.len() == state.waiting.capacity() {
                // As many again come before the next look at all of them.
                state.waiting.retain(|job| !job.has_started());
                let left = state.waiting.len();
                state.waiting.reserve(left + 1);
            }
            state.waiting.push_back(Arc::clone(job));
            drop(state);
            self.changed.notify_all();
        }

        pub(super) fn finish(&self) {
            let mut state = self.state.lock();
            state.left -= 1;
            if state.left == 0 {
                self.changed.notify_all();
            }
        }

        /// Waits until none is left, and does those that no worker has begun.
        pub(super) fn wait(&self, crew: &Crew, in_kernel: &InKernel<Hw>) {
            let mut state = self.state.lock();
            loop {
                if let Some(job) = state.waiting.pop_front() {
                    drop(state);
                    crew.do_now(job, in_kernel);
                    state = self.state.lock();
                } else if state.left == 0 {
                    return;
                } else {
                    state = self.changed.wait(state);
                }
            }
        }
    }
}

mod turns {
    use core::ops::Range;

    use crate::sync::atomic::{AtomicUsize, Ordering};

    /// The numbers of a loop, in chunks.
    pub(super) struct Turns {
        range: Range<usize>,
        chunk: usize,
        /// The number of the next chunk. Relaxed: it gives each out once, and orders nothing.
        next: AtomicUsize,
    }

    impl Turns {
        pub(super) fn new(range: Range<usize>, chunk: usize) -> Turns {
            Turns {
                range,
                chunk: chunk.max(1),
                next: AtomicUsize::new(0),
            }
        }

        pub(super) fn chunks(&self) -> usize {
            self.range.len().div_ceil(self.chunk)
        }

        /// Returns the next chunk.
        pub(super) fn take(&self) -> Option<Range<usize>> {
            let nth = self.next.fetch_add(1, Ordering::Relaxed);
            if nth >= self.chunks() {
                return None;
            }
            let start = self.range.start + nth * self.chunk;
            let end = start.saturating_add(self.chunk).min(self.range.end);
            Some(start..end)
        }
    }
}

/// Jobs that may borrow from the frame of [`Pool::scope`].
pub struct PoolScope<'scope, 'env: 'scope> {
    pool: &'env Pool,
    jobs: Arc<Jobs>,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

impl Pool {
    /// Calls `body` with a scope. Jobs of the scope may borrow data that lives longer than the
    /// call. Returns when all of them have been done; the calling thread does those that no worker
    /// has begun.
    ///
    /// ```no_run
    /// # use stillpoint::api::pool::Pool;
    /// # let pool = Pool::new()?;
    /// let words = ["still", "point"];
    /// let (first, second) = pool.scope(|scope| {
    ///     let first = scope.spawn(|| words[0].len());
    ///     (words[1].len(), first.join())
    /// });
    /// # assert_eq!(first + second, 10);
    /// ```
    ///
    /// # Context
    /// Thread, preemption on; allocates. The thread holds no lock that one of the jobs takes.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn scope<'env, R>(
        &'env self,
        body: impl for<'scope> FnOnce(&'scope PoolScope<'scope, 'env>) -> R,
    ) -> R {
        let in_kernel = enter();
        might_sleep_in::<Hw>("scope");
        let scope = PoolScope {
            pool: self,
            jobs: Arc::new(Jobs::new()),
            _scope: PhantomData,
            _env: PhantomData,
        };
        let result = in_kernel.call_app(|| body(&scope));
        scope.jobs.wait(self.crew(), &in_kernel);
        result
    }

    /// Calls `body` once with each number of `range`, in jobs that take `chunk` numbers at a time
    /// (one, if it is 0), and returns when all calls have returned. The workers of CPUs that come
    /// meanwhile join in, those of CPUs that go leave after their chunk. The calling thread joins
    /// in, too.
    ///
    /// ```no_run
    /// # use core::sync::atomic::{AtomicUsize, Ordering};
    /// # use stillpoint::api::pool::Pool;
    /// # let pool = Pool::new()?;
    /// let sum = AtomicUsize::new(0);
    /// pool.par_for(0..1000, 50, |number| {
    ///     sum.fetch_add(number, Ordering::Relaxed);
    /// });
    /// assert_eq!(sum.into_inner(), 499_500);
    /// ```
    ///
    /// # Context
    /// As [`Pool::scope`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn par_for(&self, range: Range<usize>, chunk: usize, body: impl Fn(usize) + Sync) {
        let _in_kernel = enter();
        let turns = Turns::new(range, chunk);
        // One for each CPU that may come meanwhile. The caller does those that none has begun.
        let jobs = turns.chunks().min(kernel().masks.possible().count());
        self.scope(|scope| {
            for _ in 0..jobs {
                scope.take_turns(&turns, &body);
            }
        });
    }
}

impl<'scope, 'env> PoolScope<'scope, 'env> {
    /// Has a worker call `body`, once.
    ///
    /// # Context
    /// Thread, preemption on; allocates.
    ///
    /// # Panics
    /// As [`Pool::spawn`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn spawn<T: Send + 'scope>(
        &'scope self,
        body: impl FnOnce() -> T + Send + 'scope,
    ) -> ScopedJobHandle<'scope, T> {
        let _in_kernel = enter();
        self.spawn_by(Kind::of(&body), |_| body())
    }

    fn spawn_by<T: Send + 'scope>(
        &'scope self,
        kind: Kind,
        body: impl FnOnce(Runner) -> T + Send + 'scope,
    ) -> ScopedJobHandle<'scope, T> {
        let (job_fn, outcome) = with_outcome(&kind, body);
        let jobs = Arc::clone(&self.jobs);
        let job_fn: Box<dyn FnOnce(Runner) + Send + 'scope> = Box::new(move |runner| {
            job_fn(runner);
            jobs.finish();
        });
        // SAFETY: only the lifetime changes. `scope` doesn't return before `finish` has been called
        // for the job. By then `body` has run and been dropped, and also its value, unless a
        // handle has it, which can't outlive 'scope. Whatever is left is only memory.
        let job_fn: JobFn = unsafe {
            core::mem::transmute::<Box<dyn FnOnce(Runner) + Send + 'scope>, JobFn>(job_fn)
        };
        let job = Job::new(job_fn);
        let crew = Arc::clone(self.pool.crew());
        self.jobs.count();
        crew.give(Arc::clone(&job));
        self.jobs.add(&job);
        ScopedJobHandle {
            handle: JobHandle {
                crew,
                job,
                outcome,
                work: kind.work,
            },
            _scope: PhantomData,
        }
    }

    /// Has a job take `turns`, until none is left or its worker leaves.
    fn take_turns(&'scope self, turns: &'scope Turns, body: &'scope (impl Fn(usize) + Sync)) {
        self.spawn_by(Kind::of(body), move |runner| {
            while let Some(chunk) = turns.take() {
                chunk.for_each(body);
                if !self.pool.crew().stays(runner) {
                    self.take_turns(turns, body);
                    return;
                }
            }
        });
    }
}

impl fmt::Debug for PoolScope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolScope").finish_non_exhaustive()
    }
}

/// A handle that returns the value of a scope's job.
pub struct ScopedJobHandle<'scope, T> {
    handle: JobHandle<T>,
    _scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJobHandle<'_, T> {
    /// As [`JobHandle::join`](crate::api::pool::JobHandle::join).
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> T {
        let _in_kernel = enter();
        self.handle.join()
    }

    /// As [`JobHandle::is_finished`](crate::api::pool::JobHandle::is_finished).
    ///
    /// # Context
    /// Thread.
    pub fn is_finished(&self) -> bool {
        let _in_kernel = enter();
        self.handle.is_finished()
    }
}

impl<T> fmt::Debug for ScopedJobHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJobHandle").finish_non_exhaustive()
    }
}
