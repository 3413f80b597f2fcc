//! The three ways in which a program calls the stack: the thread waits, nothing waits, a task is
//! polled again.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::{NetStack, call};
use crate::errno::Errno;
use crate::kernel::Hw;
use crate::platform::Platform;
use crate::sched::lock::Completion;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::Instant;

/// Calls `call_fn` with the stack until it is ready, or until `until`; the thread sleeps
/// meanwhile. `call_fn` registers the waker if it isn't ready (`no-lost-wake` of
/// [`net`](crate::net)).
///
/// # Errors
/// EAGAIN at `until`; those of `call_fn`.
///
/// # Context
/// Thread, preemption on; allocates if it waits.
pub(crate) fn wait<T>(
    until: Instant,
    mut call_fn: impl FnMut(&mut NetStack, Option<&Waker>) -> Poll<Result<T, Errno>>,
) -> Result<T, Errno> {
    if let Poll::Ready(value) = call(|stack| call_fn(stack, None)) {
        return value;
    }
    let signal = Arc::new(Signal(Completion::new()));
    let waker = Waker::from(Arc::clone(&signal));
    loop {
        if let Poll::Ready(value) = call(|stack| call_fn(stack, Some(&waker))) {
            return value;
        }
        if !signal.0.wait_until(until) {
            return Err(Errno::Again);
        }
    }
}

/// Calls `call_fn` once: a call that never waits.
///
/// # Errors
/// EAGAIN if it isn't ready; those of `call_fn`.
///
/// # Context
/// Thread, preemption on.
pub(crate) fn try_now<T>(
    call_fn: impl FnOnce(&mut NetStack) -> Poll<Result<T, Errno>>,
) -> Result<T, Errno> {
    match call(call_fn) {
        Poll::Ready(value) => value,
        Poll::Pending => Err(Errno::Again),
    }
}

/// Calls `call_fn` for a task, which is woken when it should be called again.
///
/// # Context
/// Thread, preemption on.
pub(crate) fn poll<T>(
    context: &mut Context<'_>,
    call_fn: impl FnOnce(&mut NetStack, Option<&Waker>) -> Poll<Result<T, Errno>>,
) -> Poll<Result<T, Errno>> {
    call(|stack| call_fn(stack, Some(context.waker())))
}

/// Wakes a thread in [`wait`].
struct Signal(Completion<Hw>);

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.0.complete();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.complete();
    }
}

/// How long calls wait. It may be changed while some do; they keep theirs.
#[derive(Debug)]
pub(crate) struct TimeLimit {
    /// In nanoseconds; `u64::MAX` for no limit. Relaxed: it orders nothing.
    nanoseconds: AtomicU64,
}

impl TimeLimit {
    /// Returns no limit.
    pub(crate) const fn none() -> TimeLimit {
        TimeLimit {
            nanoseconds: AtomicU64::new(u64::MAX),
        }
    }

    pub(crate) fn set(&self, time: Option<Duration>) {
        let nanoseconds = time.and_then(|time| u64::try_from(time.as_nanos()).ok());
        let nanoseconds = nanoseconds.unwrap_or(u64::MAX);
        self.nanoseconds.store(nanoseconds, Ordering::Relaxed);
    }

    /// Returns when a call ends that begins now.
    pub(crate) fn deadline(&self) -> Instant {
        match self.nanoseconds.load(Ordering::Relaxed) {
            u64::MAX => Instant::FOREVER,
            nanoseconds => Hw::deadline(Duration::from_nanos(nanoseconds)),
        }
    }
}
