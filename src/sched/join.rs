//! What is left of a thread for those who started it: whether it has ended, its value,
//! and a permit to go on.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::sched::{Running, SchedHost, Scheduler, SpawnError, Thread};
use crate::sync::{LockMap, SpinLock, might_sleep};
use crate::time::Instant;

/// Where a thread leaves its value.
type Slot<T, P> = Arc<SpinLock<Option<T>, P>>;

/// The right to a thread's value. Dropping it lets the thread go on by itself.
#[must_use]
pub struct JoinHandle<T, P: SchedHost> {
    thread: Arc<Thread<P>>,
    value: Slot<T, P>,
    /// What it does, for the validator.
    work: LockMap,
}

impl<T: Send, P: SchedHost> JoinHandle<T, P> {
    /// Starts a thread by `spawn_fn`, which is given what the thread is to run: `body`,
    /// with its value left for who joins. If nobody will, the value goes there.
    ///
    /// # Errors
    /// Those of `spawn_fn`.
    #[allow(dead_code, reason = "called by `api`, which the host hasn't")]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn start<'a>(
        body: impl FnOnce() -> T + Send + 'a,
        spawn_fn: impl FnOnce(Box<dyn FnOnce() + Send + 'a>) -> Result<Arc<Thread<P>>, SpawnError>,
    ) -> Result<Self, SpawnError>
    where
        T: 'a,
    {
        let value: Slot<T, P> = Arc::new(SpinLock::new(None));
        let slot = Arc::clone(&value);
        let work = LockMap::of(&body);
        let its_work = work.same();
        let thread = spawn_fn(Box::new(move || {
            let working = its_work.work::<P>();
            let result = body();
            drop(working);
            *slot.lock() = Some(result);
        }))?;
        Ok(JoinHandle {
            thread,
            value,
            work,
        })
    }
}

impl<T, P: SchedHost> JoinHandle<T, P> {
    /// Waits until the thread has ended, and returns what it returned.
    ///
    /// # Context
    /// Another thread, preemption on.
    ///
    /// # Panics
    /// If it is the running thread's own: it would wait for itself.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> T {
        self.work.wait::<P>();
        self.thread.wait_until_dead();
        let value = self.value.lock().take();
        value.expect("BUG: a thread ended without a value")
    }

    /// What the thread does, for the validator: for a waiter that doesn't join, such as
    /// the end of a scope.
    #[allow(dead_code, reason = "called by `api`, which the host hasn't")]
    pub(crate) fn work(&self) -> LockMap {
        self.work.same()
    }

    /// The thread.
    pub fn thread(&self) -> &Arc<Thread<P>> {
        &self.thread
    }

    /// Returns whether the thread has ended: [`JoinHandle::join`] would not wait. What the
    /// thread did is visible to the caller then.
    ///
    /// # Context
    /// Any.
    pub fn is_finished(&self) -> bool {
        self.thread.has_ended()
    }
}

impl<P: SchedHost> Scheduler<P> {
    /// Gives `thread` a permit: it goes on, if it waits for one, else it will not wait
    /// the next time. There is one at most.
    ///
    /// # Context
    /// Any.
    pub fn give_permit(&self, thread: &Arc<Thread<P>>) {
        thread.permit.give(|| {
            self.wake(thread);
        });
    }

    /// Waits for a permit and takes it, but not past `at`; returns whether it got one.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_permit(&self, at: Instant) -> bool {
        might_sleep::<P>();
        let me = self.current();
        let running = Running {
            sched: self,
            me: &me,
        };
        let is_late = || at != Instant::FOREVER && P::now() >= at;
        me.permit
            .wait(&running, is_late, || self.schedule_until(&me, at))
    }
}
