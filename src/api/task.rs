//! Futures: tasks of a [pool](crate::api::pool), a thread that waits for a future, and one that
//! waits for an instant.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/tasks.rs")]
//! ```
//! A task moves at each `await`: it goes on with whatever worker is there. What the kernel offers
//! to wait for, apart from this module, has a thread wait, such as
//! [`Mutex::lock`](crate::api::sync::Mutex::lock). A task that calls it has its worker wait, which
//! polls no other task meanwhile.

use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::mem::replace;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use crate::api::sync::Completion;
use crate::api::time::Timer;
use crate::kernel::Hw;
use crate::kernel::entry::enter;
use crate::platform::Platform;
use crate::sync::{SpinLock, might_sleep_in};
use crate::time::Instant;

use signal::Signal;
use tasks::{Slot, Value};

/// What a task leaves for its handle and its pool.
pub(super) mod tasks {
    use alloc::sync::Arc;
    use core::future::{Future, poll_fn};
    use core::mem::replace;
    use core::pin::pin;
    use core::task::Waker;

    use crate::api::pool_crew::outcome::Kind;
    use crate::api::sync::{Condvar, Mutex};
    use crate::api::task::TaskHandle;
    use crate::kernel::Hw;
    use crate::kernel::entry::enter;
    use crate::sync::SpinLock;

    /// How many tasks of a pool are not over.
    pub(in crate::api) struct Tasks(Arc<TasksLeft>);

    struct TasksLeft {
        left: Mutex<usize>,
        /// Notified when there are none.
        none: Condvar,
    }

    impl Tasks {
        pub(in crate::api) fn new() -> Tasks {
            Tasks(Arc::new(TasksLeft {
                left: Mutex::new(0),
                none: Condvar::new(),
            }))
        }

        /// Counts a task until the returned value is dropped.
        pub(in crate::api) fn count(&self) -> Counted {
            *self.0.left.lock() += 1;
            Counted(Arc::clone(&self.0))
        }

        pub(in crate::api) fn wait_for_none(&self) {
            let left = self.0.left.lock();
            drop(self.0.none.wait_while(left, |left| *left > 0));
        }
    }

    /// A task that is counted.
    pub(in crate::api) struct Counted(Arc<TasksLeft>);

    impl Drop for Counted {
        fn drop(&mut self) {
            let mut left = self.0.left.lock();
            *left -= 1;
            if *left == 0 {
                self.0.none.notify_all();
            }
        }
    }

    /// The value of a task.
    pub(in crate::api) enum Value<T> {
        /// It isn't there. The waker is of what waits for it.
        Awaited(Option<Waker>),
        There(T),
        Taken,
    }

    /// Where a task leaves its value. An interrupt handler takes the lock too, in which a future is
    /// polled with a waker of its own.
    pub(in crate::api) type Slot<T> = Arc<SpinLock<Value<T>, Hw>>;

    /// Returns a future that has the value of `future` left for the handle.
    pub(in crate::api) fn with_value<F: Future<Output: Send> + Send>(
        future: F,
        kind: Kind,
        counted: Counted,
    ) -> (impl Future<Output = ()> + Send, TaskHandle<F::Output>) {
        let slot: Slot<F::Output> = Arc::new(SpinLock::new(Value::Awaited(None)));
        let its = Arc::clone(&slot);
        let future = async move {
            let value = {
                let mut future = pin!(future);
                poll_fn(|context| kind.call(|| future.as_mut().poll(context))).await
            };
            let _in_kernel = enter();
            let before = replace(&mut *its.lock_irqsave(), Value::There(value));
            if let Value::Awaited(Some(waker)) = before {
                waker.wake();
            }
            drop(counted);
        };
        (future, TaskHandle { slot })
    }
}

mod signal {
    use alloc::sync::Arc;
    use alloc::task::Wake;

    use crate::api::sync::Completion;

    /// Wakes a thread in [`block_on`](super::block_on).
    pub(super) struct Signal(pub(super) Completion);

    impl Wake for Signal {
        fn wake(self: Arc<Self>) {
            self.0.complete();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            self.0.complete();
        }
    }
}

/// A handle that returns the value of a task: a future, for another task. If it is dropped, the
/// task goes on.
pub struct TaskHandle<T> {
    slot: Slot<T>,
}

impl<T> TaskHandle<T> {
    /// Waits until the task is over, and returns its value.
    ///
    /// # Context
    /// Thread, preemption on. A job or a task of the pool should await it, or return it: its
    /// worker, which waits here, may be the only one that could poll the task.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> T {
        block_on(self)
    }

    /// Returns whether the task is over: [`TaskHandle::join`] would not wait. It stays so when a
    /// poll has returned the value.
    ///
    /// # Context
    /// Any.
    pub fn is_finished(&self) -> bool {
        let _in_kernel = enter();
        !matches!(*self.slot.lock_irqsave(), Value::Awaited(_))
    }
}

impl<T> Future for TaskHandle<T> {
    type Output = T;

    /// # Panics
    /// If it has returned the value before.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let _in_kernel = enter();
        let waker = context.waker().clone(); // Outside of the lock: it may be anything.
        let mut value = self.slot.lock_irqsave();
        let before = match &*value {
            Value::Awaited(_) => replace(&mut *value, Value::Awaited(Some(waker))),
            Value::There(_) | Value::Taken => replace(&mut *value, Value::Taken),
        };
        drop(value);
        match before {
            Value::Awaited(_) => Poll::Pending,
            Value::There(value) => Poll::Ready(value),
            Value::Taken => panic!("BUG: the value of a task was taken before"),
        }
    }
}

impl<T> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle").finish_non_exhaustive()
    }
}

/// Polls `future` in the calling thread until it has its value, which is returned. The thread
/// sleeps meanwhile.
///
/// # Context
/// Thread, preemption on; allocates. In a job or a task of a pool its worker waits, as for
/// [`TaskHandle::join`].
#[cfg_attr(debug_assertions, track_caller)]
pub fn block_on<F: Future>(future: F) -> F::Output {
    let in_kernel = enter();
    might_sleep_in::<Hw>("block_on");
    let signal = Arc::new(Signal(Completion::new()));
    let waker = Waker::from(Arc::clone(&signal));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        // What has woken it so far is answered by this poll.
        signal.0.reset();
        if let Poll::Ready(value) = in_kernel.call_app(|| future.as_mut().poll(&mut context)) {
            return value;
        }
        signal.0.wait();
    }
}

/// Returns a future that is ready when `time` has passed since the call.
///
/// # Context
/// Any.
pub fn sleep(time: Duration) -> Sleep {
    sleep_until(Hw::deadline(time))
}

/// Returns a future that is ready at `at`.
///
/// # Context
/// Any.
pub fn sleep_until(at: Instant) -> Sleep {
    Sleep { at, timer: None }
}

/// A future that is ready at an instant: see [`sleep`]. It is polled and dropped in a thread, with
/// preemption on.
///
/// ```no_run
#[doc = include_str!("../../examples/api/timeouts.rs")]
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    at: Instant,
    /// Made when it is polled for the first time.
    timer: Option<(Timer, Arc<Alarm>)>,
}

/// What the timer of a [`Sleep`] wakes.
type Alarm = SpinLock<Option<Waker>, Hw>;

impl Sleep {
    /// Has `waker` called at the instant.
    fn arm(&mut self, waker: Waker) {
        if let Some((_, alarm)) = &self.timer {
            let before = alarm.lock_irqsave().replace(waker);
            drop(before); // Outside of the lock: it may be anything.
            return;
        }
        let alarm = Arc::new(Alarm::new(Some(waker)));
        let its = Arc::clone(&alarm);
        let timer = Timer::new(move || {
            let waker = its.lock_irqsave().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        });
        timer.start(self.at);
        self.timer = Some((timer, alarm));
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let _in_kernel = enter();
        if Hw::now() < self.at {
            self.arm(context.waker().clone());
        }
        // Once more: the timer may have called the waker of an earlier poll just now.
        match Hw::now() < self.at {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
