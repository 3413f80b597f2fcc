//! A job: a function that is called once, or a task, whose future is polled each time that it has
//! been woken.
//!
//! ```text
//!   task      Queued ──── start ────► Polled ──── Ready ────► Over
//!               ▲                      │  ▲│
//!               │◄── Pending, woken ───┘  ││ woken: notes it
//!               │                         └┘
//!               └────── wake ── Waits ◄── Pending
//!
//!   function  Ready ───── start ────► Over
//! ```

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use intrusive_collections::RBTreeAtomicLink;

use crate::cpu::CpuId;
use crate::pool::line::Ticket;
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

/// What a task does.
pub type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a thread calls what belongs to the program.
pub trait CallApp {
    /// Calls `app_fn`, and returns its value.
    fn call<R>(&self, app_fn: impl FnOnce() -> R) -> R;
}

/// Where a task goes when it is woken.
pub trait Home<E: LocalCpu + 'static>: Send + Sync {
    /// Queues `job`.
    ///
    /// # Context
    /// Any. Neither allocates nor frees.
    fn queue(&self, job: Arc<Job<E>>);
}

/// What a job does, taken out of the job by the thread that has to do it.
#[must_use = "the job isn't done otherwise"]
pub struct Started<E: LocalCpu + 'static>(Work<E>);

enum Work<E: LocalCpu + 'static> {
    Fn(JobFn),
    Task(Arc<Job<E>>, TaskFuture),
}

impl<E: LocalCpu + 'static> Started<E> {
    /// Does it; of a task, as much as it does without waiting.
    ///
    /// # Context
    /// Thread.
    pub fn run(self, runner: Runner, caller: &impl CallApp) {
        match self.0 {
            Work::Fn(job_fn) => caller.call(|| job_fn(runner)),
            Work::Task(job, future) => job.poll(future, caller),
        }
    }
}

/// How far a job is.
enum State<E: LocalCpu + 'static> {
    /// A function that has not been called.
    Ready(JobFn),
    /// A task that waits until it is woken. It has the job, so that it lives until then, and so
    /// that a wake need not count.
    Waits(Arc<Job<E>>, TaskFuture),
    /// A task that is in a queue, or about to be.
    Queued(TaskFuture),
    /// A task that a thread polls, and whether it has been woken since that began.
    Polled { woken: bool },
    /// The function has been called, or a thread is about to; the task is over.
    Over,
}

/// A job, and its place in a queue.
pub struct Job<E: LocalCpu + 'static> {
    pub(super) link: RBTreeAtomicLink,
    pub(super) ticket: Ticket,
    /// What is to be done is taken out under the lock (`run-once` of [`pool`](crate::pool)).
    state: SpinLock<State<E>, E>,
    /// Of a task.
    home: Option<Arc<dyn Home<E>>>,
}

impl<E: LocalCpu + 'static> Job<E> {
    /// Returns a job that is in no queue. Allocates.
    pub fn new(job_fn: JobFn) -> Arc<Job<E>> {
        Self::make(State::Ready(job_fn), None)
    }

    /// Returns a task that is in no queue, and that counts as queued: the caller queues it.
    /// Allocates.
    pub fn task(future: TaskFuture, home: Arc<dyn Home<E>>) -> Arc<Job<E>> {
        Self::make(State::Queued(future), Some(home))
    }

    fn make(state: State<E>, home: Option<Arc<dyn Home<E>>>) -> Arc<Job<E>> {
        Arc::new(Job {
            link: RBTreeAtomicLink::new(),
            ticket: Ticket::new(),
            state: SpinLock::new(state),
            home,
        })
    }

    /// Takes out what is to be done; `None` if another thread has.
    ///
    /// # Context
    /// Thread, which has taken the job out of its queue. One that hasn't calls
    /// [`Board::start`](crate::pool::Board::start).
    pub fn start(self: &Arc<Self>) -> Option<Started<E>> {
        self.change(|state| match state {
            State::Ready(job_fn) => (State::Over, Some(Started(Work::Fn(job_fn)))),
            State::Queued(future) => {
                let started = Started(Work::Task(Arc::clone(self), future));
                (State::Polled { woken: false }, Some(started))
            }
            state => (state, None),
        })
    }

    /// Returns whether a function has been called, or a thread is about to.
    ///
    /// # Context
    /// Thread.
    pub fn has_started(&self) -> bool {
        matches!(*self.state.lock_irqsave(), State::Over)
    }

    fn change<R>(&self, change_fn: impl FnOnce(State<E>) -> (State<E>, R)) -> R {
        let mut state = self.state.lock_irqsave();
        let (new, result) = change_fn(core::mem::replace(&mut *state, State::Over));
        *state = new;
        result
    }

    fn poll(self: Arc<Self>, mut future: TaskFuture, caller: &impl CallApp) {
        let waker = Waker::from(Arc::clone(&self));
        let polled = caller.call(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
        drop(waker);
        if polled == Poll::Ready(()) {
            caller.call(|| drop(future));
            self.change(|_| (State::Over, ()));
            return;
        }
        let again = self.change(|state| match state {
            State::Polled { woken: true } => (State::Queued(future), true),
            _ => (State::Waits(Arc::clone(&self), future), false),
        });
        if again {
            self.go_home();
        }
    }

    /// Queues the task, whose state is Queued since just now (`woken-once` of [`pool`](crate::pool)).
    fn go_home(self: Arc<Self>) {
        if let Some(home) = &self.home {
            home.queue(Arc::clone(&self));
        }
    }
}

impl<E: LocalCpu + 'static> Wake for Job<E> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// Has the task polled once more.
    ///
    /// # Context
    /// Any.
    fn wake_by_ref(self: &Arc<Self>) {
        let woken = self.change(|state| match state {
            State::Waits(job, future) => (State::Queued(future), Some(job)),
            State::Polled { .. } => (State::Polled { woken: true }, None),
            state => (state, None),
        });
        if let Some(job) = woken {
            job.go_home();
        }
    }
}

impl<E: LocalCpu + 'static> fmt::Debug for Job<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job { .. }")
    }
}
