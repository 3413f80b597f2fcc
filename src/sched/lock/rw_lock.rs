//! A sleeping lock for many readers or one writer.
//!
//! It takes turns: a reader waits behind a writer that waits, and a writer that leaves
//! lets all readers in who have come meanwhile. So neither starves, and a thread that
//! reads must not read again inside: a writer may have come in between.

#![forbid(unsafe_code)]

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use spin::rwlock::{RwLock as Cell, RwLockReadGuard as CellRead, RwLockWriteGuard as CellWrite};

use crate::sched::SchedHost;
use crate::sched::lock::waiters::{Waiters, wait_until_taken};
use crate::sync::lockdep::{LockKind, Nesting};
use crate::sync::{LockHeld, LockKey, SpinLock, const_unless_loom, might_sleep};

struct Inner<P: SchedHost> {
    readers: usize,
    writing: bool,
    waiting_readers: Waiters<P>,
    waiting_writers: Waiters<P>,
}

impl<P: SchedHost> Inner<P> {
    /// Once the last reader has gone, the writer that has waited longest is in.
    fn let_writer_in(&mut self) {
        if self.readers == 0 {
            self.writing = self.waiting_writers.wake_one();
        }
    }
}

/// A value that many threads may look at, or one may change; the others sleep.
///
/// # Invariants
/// - W1: `readers` and `writing` are set for a thread before its lock call returns, by
///   itself or by who lets it in; never both.
/// - W2: `value`'s own lock is only ever tried by who may have it, so it never fails.
pub struct RwLock<T, P: SchedHost> {
    inner: SpinLock<Inner<P>, P>,
    value: Cell<T>,
    key: LockKey,
}

impl<T, P: SchedHost> RwLock<T, P> {
    const_unless_loom! {
        /// An open lock around `value`.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new(value: T) -> Self {
            RwLock {
                inner: SpinLock::new(Inner {
                    readers: 0,
                    writing: false,
                    waiting_readers: Waiters::new(),
                    waiting_writers: Waiters::new(),
                }),
                value: Cell::new(value),
                key: LockKey::new::<T>(LockKind::Rw),
            }
        }
    }

    /// Takes the lock to look at the value; sleeps until that can be.
    ///
    /// # Context
    /// Thread, preemption on; not inside another read of the same lock.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read(&self) -> ReadGuard<'_, T, P> {
        might_sleep::<P>();
        self.take_read(self.key.acquire())
    }

    /// As [`RwLock::read`], where the thread may hold others of the same class: see
    /// [`Mutex::lock_nested`](crate::sched::lock::Mutex::lock_nested).
    ///
    /// # Context
    /// As [`RwLock::read`].
    ///
    /// # Panics
    /// In a debug build, if the order isn't kept.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read_nested(&self, nesting: Nesting) -> ReadGuard<'_, T, P> {
        might_sleep::<P>();
        self.take_read(self.key.acquire_nested(nesting))
    }

    fn take_read<'a>(&'a self, held: LockHeld<'a, P>) -> ReadGuard<'a, T, P> {
        let waits = {
            let mut inner = self.inner.lock_irqsave();
            if inner.writing || !inner.waiting_writers.is_empty() {
                let me = P::sched().current();
                inner.waiting_readers.add(&me);
                Some(me)
            } else {
                inner.readers += 1;
                None
            }
        };
        if let Some(me) = waits {
            wait_until_taken(&self.inner, &me, "its turn to read");
        }
        ReadGuard {
            value: Some(
                self.value
                    .try_read()
                    .expect("BUG: a reader meets a writer (W2)"),
            ),
            lock: self,
            held,
            _not_send: PhantomData,
        }
    }

    /// Takes the lock to change the value; sleeps until that can be.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write(&self) -> WriteGuard<'_, T, P> {
        might_sleep::<P>();
        self.take_write(self.key.acquire())
    }

    /// As [`RwLock::write`], where the thread may hold others of the same class: see
    /// [`Mutex::lock_nested`](crate::sched::lock::Mutex::lock_nested).
    ///
    /// # Context
    /// As [`RwLock::write`].
    ///
    /// # Panics
    /// In a debug build, if the order isn't kept.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write_nested(&self, nesting: Nesting) -> WriteGuard<'_, T, P> {
        might_sleep::<P>();
        self.take_write(self.key.acquire_nested(nesting))
    }

    fn take_write<'a>(&'a self, held: LockHeld<'a, P>) -> WriteGuard<'a, T, P> {
        let waits = {
            let mut inner = self.inner.lock_irqsave();
            if inner.writing || inner.readers > 0 {
                let me = P::sched().current();
                inner.waiting_writers.add(&me);
                Some(me)
            } else {
                inner.writing = true;
                None
            }
        };
        if let Some(me) = waits {
            wait_until_taken(&self.inner, &me, "its turn to write");
        }
        WriteGuard {
            value: Some(
                self.value
                    .try_write()
                    .expect("BUG: a writer is not alone (W2)"),
            ),
            lock: self,
            held,
            _not_send: PhantomData,
        }
    }

    fn leave_read(&self) {
        let mut inner = self.inner.lock_irqsave();
        inner.readers -= 1;
        inner.let_writer_in();
    }

    fn leave_write(&self) {
        let mut inner = self.inner.lock_irqsave();
        inner.writing = false;
        inner.readers += inner.waiting_readers.wake_all();
        inner.let_writer_in();
    }
}

/// The value can be looked at, and nobody changes it, while this exists.
#[must_use]
pub struct ReadGuard<'a, T, P: SchedHost> {
    /// `None` only inside `drop`.
    value: Option<CellRead<'a, T>>,
    lock: &'a RwLock<T, P>,
    held: LockHeld<'a, P>,
    _not_send: PhantomData<*const ()>,
}

impl<T, P: SchedHost> Deref for ReadGuard<'_, T, P> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value.as_ref().expect("BUG: a guard outlived its drop")
    }
}

impl<T, P: SchedHost> Drop for ReadGuard<'_, T, P> {
    fn drop(&mut self) {
        self.held.release();
        self.value = None; // W2: before anybody else is let in.
        self.lock.leave_read();
    }
}

/// The value is this thread's alone while this exists.
#[must_use]
pub struct WriteGuard<'a, T, P: SchedHost> {
    /// `None` only inside `drop`.
    value: Option<CellWrite<'a, T>>,
    lock: &'a RwLock<T, P>,
    held: LockHeld<'a, P>,
    _not_send: PhantomData<*const ()>,
}

impl<T, P: SchedHost> Deref for WriteGuard<'_, T, P> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value.as_ref().expect("BUG: a guard outlived its drop")
    }
}

impl<T, P: SchedHost> DerefMut for WriteGuard<'_, T, P> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("BUG: a guard outlived its drop")
    }
}

impl<T, P: SchedHost> Drop for WriteGuard<'_, T, P> {
    fn drop(&mut self) {
        self.held.release();
        self.value = None; // W2: before anybody else is let in.
        self.lock.leave_write();
    }
}
