//! A thread's handle for the thread that has started it: whether it has ended, and its
//! value.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::sched::{SchedHost, SpawnError, Thread, run_app};
use crate::sync::{LockMap, SpinLock};

/// Where a thread leaves its value.
type Slot<T, P> = Arc<SpinLock<Option<T>, P>>;

/// The right to a thread's return value. Dropping the handle detaches the thread, which
/// runs on.
#[must_use]
pub struct JoinHandle<T, P: SchedHost> {
    thread: Arc<Thread<P>>,
    value: Slot<T, P>,
    /// The thread's work, for the lock validator.
    work: LockMap,
}

impl<T: Send, P: SchedHost> JoinHandle<T, P> {
    /// Starts a thread by `spawn_fn`. `spawn_fn` gets the function that the thread must
    /// run: it calls `body` and keeps the result for [`JoinHandle::join`]. If the
    /// handle has been dropped, the thread drops the result.
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
            let result = run_app::<P, T>(body);
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
    /// Waits until the thread has ended, and returns the value that its body returned.
    ///
    /// # Context
    /// Another thread, preemption on.
    ///
    /// # Panics
    /// If the running thread joins itself: it would wait for ever.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> T {
        self.work.wait::<P>();
        self.thread.wait_until_dead();
        let value = self.value.lock().take();
        value.expect("BUG: a thread ended without a value")
    }

    /// Returns the thread's work, for the lock validator. For a waiter that doesn't
    /// join, such as the end of a scope.
    #[allow(dead_code, reason = "called by `api`, which the host hasn't")]
    pub(crate) fn work(&self) -> LockMap {
        self.work.same()
    }

    /// Returns the thread.
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
