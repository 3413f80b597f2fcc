//! A sleeping mutex that is handed over: the thread that has waited longest gets it,
//! and no thread that comes later can take it in between.
//!
//! # Invariants
//! - **owner-while-held**: `owner` is set before the owner's `lock` returns, until its
//!   guard is dropped. Then it becomes the first waiter, or `None` without a waiter.
//! - **only-owner-tries**: only the owner ever tries `value`'s own lock, so the try
//!   never fails. That lock exists so that the borrow needs no `unsafe`.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::sched::lock::waiters::{Waiters, wait_taken_until};
use crate::sched::{SchedHost, Thread};
use crate::sched::{late_at, patience};
use crate::sync::lockdep::{LockKind, Nesting};
use crate::sync::{LockHeld, LockKey, SpinLock, const_unless_loom, might_sleep};

struct Inner<P: SchedHost> {
    owner: Option<Arc<Thread<P>>>,
    waiters: Waiters<P>,
}

/// A value that one thread at a time may access; the others sleep.
pub struct Mutex<T, P: SchedHost> {
    inner: SpinLock<Inner<P>, P>,
    value: SpinMutex<T>,
    key: LockKey,
}

impl<T, P: SchedHost> Mutex<T, P> {
    const_unless_loom! {
        /// Returns an open mutex around `value`.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new(value: T) -> Self {
            Mutex {
                inner: SpinLock::new(Inner {
                    owner: None,
                    waiters: Waiters::new(),
                }),
                value: SpinMutex::new(value),
                key: LockKey::new::<T>(LockKind::Sleep),
            }
        }
    }

    /// Takes the mutex; sleeps until it is free.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Panics
    /// If the running thread holds it already: it would wait for ever.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, T, P> {
        might_sleep::<P>();
        self.take(self.key.acquire())
    }

    /// Does as [`Mutex::lock`] for a thread that may hold other mutexes of the same
    /// class: those that were made at the same place around the same type. `nesting`
    /// gives the order in which the thread takes them, which the lock validator of a
    /// debug build checks.
    ///
    /// ```ignore
    /// // Every transfer takes the account with the lower index first.
    /// let low = accounts[from.min(to)].lock();
    /// let high = accounts[from.max(to)].lock_nested(Nesting::Ascending);
    /// ```
    ///
    /// # Context
    /// As [`Mutex::lock`].
    ///
    /// # Panics
    /// As [`Mutex::lock`]; in a debug build also if the order isn't kept.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock_nested(&self, nesting: Nesting) -> MutexGuard<'_, T, P> {
        might_sleep::<P>();
        self.take(self.key.acquire_nested(nesting))
    }

    fn take<'a>(&'a self, held: LockHeld<'a, P>) -> MutexGuard<'a, T, P> {
        let me = P::sched().current();
        {
            let mut inner = self.inner.lock_irqsave();
            match &inner.owner {
                None => {
                    inner.owner = Some(me);
                    drop(inner);
                    return self.guard(held);
                }
                Some(owner) => {
                    assert!(
                        !Arc::ptr_eq(owner, &me),
                        "BUG: {me:?} takes a mutex that it holds"
                    );
                    inner.waiters.add(&me);
                }
            }
        }
        while !wait_taken_until(&self.inner, &me, late_at::<P>()) {
            self.say_late(&me);
        }
        self.guard(held)
    }

    /// Logs which thread has the mutex that `me` waits for.
    fn say_late(&self, me: &Thread<P>) {
        let owner = self.inner.lock_irqsave().owner.clone();
        if let Some(owner) = owner {
            log::warn!(
                "{} has waited {} s for a mutex that {} on CPU{} holds (it is {:?})",
                me.name(),
                patience::<P>().as_secs(),
                owner.name(),
                owner.cpu(),
                owner.state_racy()
            );
        }
    }

    /// Takes the mutex if it is free.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T, P>> {
        let me = P::sched().current();
        {
            let mut inner = self.inner.lock_irqsave();
            if inner.owner.is_some() {
                return None;
            }
            inner.owner = Some(me);
        }
        Some(self.guard(self.key.acquired()))
    }

    fn guard<'a>(&'a self, held: LockHeld<'a, P>) -> MutexGuard<'a, T, P> {
        MutexGuard {
            value: Some(self.value.try_lock().expect("BUG: a mutex has two owners")),
            mutex: self,
            held,
            _not_send: PhantomData,
        }
    }
}

/// The mutex is held while this exists.
///
/// Not `Send`: the owner is the thread that made it.
#[must_use]
pub struct MutexGuard<'a, T, P: SchedHost> {
    /// `None` only inside `drop`.
    value: Option<SpinMutexGuard<'a, T>>,
    mutex: &'a Mutex<T, P>,
    held: LockHeld<'a, P>,
    _not_send: PhantomData<*const ()>,
}

impl<'a, T, P: SchedHost> MutexGuard<'a, T, P> {
    /// Returns the mutex that the guard holds.
    pub(super) fn mutex(&self) -> &'a Mutex<T, P> {
        self.mutex
    }
}

impl<T, P: SchedHost> Deref for MutexGuard<'_, T, P> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value.as_ref().expect("BUG: a guard outlived its drop")
    }
}

impl<T, P: SchedHost> DerefMut for MutexGuard<'_, T, P> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("BUG: a guard outlived its drop")
    }
}

impl<T, P: SchedHost> Drop for MutexGuard<'_, T, P> {
    fn drop(&mut self) {
        self.held.release();
        self.value = None; // Before another thread is the owner (only-owner-tries).
        let mut inner = self.mutex.inner.lock_irqsave();
        let next = inner.waiters.pop();
        inner.owner = next.clone(); // For the next owner (owner-while-held).
        drop(inner);
        if let Some(next) = next {
            P::sched().wake(&next);
        }
    }
}
