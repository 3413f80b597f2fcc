//! A sleeping lock for many readers or one writer.
//!
//! Readers and writers take turns: a reader waits behind a writer that waits, and a
//! writer that leaves lets in all readers that have come meanwhile. So neither starves.
//! A thread that waits spins for a moment before it sleeps (`spin_first`): it isn't known which
//! threads read, so a writer spins whatever they do, as far as it has been worth it lately.
//!
//! A thread that reads must not read again inside, because a writer may have come in
//! between. The thread keeps a record of the locks that it holds for reading
//! (`HeldRwLocks`), by which such a second read is found.
//!
//! # Invariants
//! - **counted-while-held**: `readers` or `writer` counts a thread before its lock call
//!   returns. The thread itself counts, or the thread that lets it in. The two are
//!   never both set.
//! - **only-holders-try**: only a thread that may have the value tries `value`'s own
//!   lock, so the try never fails.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use spin::rwlock::{RwLock as Cell, RwLockReadGuard as CellRead, RwLockWriteGuard as CellWrite};

use crate::sched::lock::spin_first::{gets_on, spin_then_sleep};
use crate::sched::lock::waiters::{Waiters, wait_until_taken};
use crate::sched::{SchedHost, Thread};
use crate::sync::lockdep::{LockKind, Nesting};
use crate::sync::{LockHeld, LockKey, SpinBudget, SpinLock, const_unless_loom, might_sleep_in};
use crate::time::Instant;

struct Inner<P: SchedHost> {
    readers: usize,
    /// The thread that has the lock for writing, or was let in and is about to have it.
    writer: Option<Arc<Thread<P>>>,
    waiting_readers: Waiters<P>,
    waiting_writers: Waiters<P>,
}

impl<P: SchedHost> Inner<P> {
    /// Returns whether those that have the lock get on, as far as it is known.
    fn gets_on(&self) -> bool {
        self.writer.as_ref().is_none_or(|writer| gets_on(writer))
    }

    /// Lets in the writer that has waited longest, once the last reader has left.
    fn let_writer_in(&mut self) {
        if self.readers == 0 {
            self.writer = self.waiting_writers.pop(); // For the writer (counted-while-held).
            if let Some(writer) = &self.writer {
                P::sched().wake(writer);
            }
        }
    }
}

/// A value that many threads may read, or one may change; the others sleep.
pub struct RwLock<T, P: SchedHost> {
    inner: SpinLock<Inner<P>, P>,
    value: Cell<T>,
    /// How long a thread that waits to read spins before it sleeps.
    read_spins: SpinBudget,
    /// And one that waits to write.
    write_spins: SpinBudget,
    key: LockKey,
}

impl<T, P: SchedHost> RwLock<T, P> {
    const_unless_loom! {
        /// Returns an open lock around `value`.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new(value: T) -> Self {
            RwLock {
                inner: SpinLock::new(Inner {
                    readers: 0,
                    writer: None,
                    waiting_readers: Waiters::new(),
                    waiting_writers: Waiters::new(),
                }),
                value: Cell::new(value),
                read_spins: SpinBudget::of_thread(),
                write_spins: SpinBudget::of_thread(),
                key: LockKey::new::<T>(LockKind::Rw),
            }
        }
    }

    /// Takes the lock for reading; sleeps until no writer has it or waits.
    ///
    /// # Context
    /// Thread, preemption on; not inside a guard of the same lock.
    ///
    /// # Panics
    /// If the running thread has a guard of the lock, whether it would have to wait or
    /// not. A guard that was forgotten ([`core::mem::forget`]) counts, even for another
    /// lock that lies at the same address later. A thread keeps a record of four locks
    /// that it holds for reading at a time. A wait behind its own read of a fifth lock
    /// isn't found, but is logged after ten seconds.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read(&self) -> ReadGuard<'_, T, P> {
        might_sleep_in::<P>("RwLock::read");
        self.take_read(self.key.acquire())
    }

    /// Does as [`RwLock::read`] for a thread that may hold other locks of the same
    /// class: see [`Mutex::lock_nested`](crate::sched::lock::Mutex::lock_nested).
    ///
    /// # Context
    /// As [`RwLock::read`].
    ///
    /// # Panics
    /// As [`RwLock::read`]; in a debug build also if the order isn't kept.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read_nested(&self, nesting: Nesting) -> ReadGuard<'_, T, P> {
        might_sleep_in::<P>("RwLock::read_nested");
        self.take_read(self.key.acquire_nested(nesting))
    }

    fn take_read<'a>(&'a self, held: LockHeld<'a, P>) -> ReadGuard<'a, T, P> {
        let waits = {
            let mut inner = self.inner.lock_irqsave();
            P::sched().with_current(|me| self.check_may_wait(&inner, me));
            if inner.writer.is_some() || !inner.waiting_writers.is_empty() {
                let me = P::sched().current();
                inner.waiting_readers.add(&me);
                Some((me, inner.gets_on()))
            } else {
                inner.readers += 1;
                None
            }
        };
        if let Some((me, gets_on)) = waits {
            self.wait(&self.read_spins, &me, gets_on, "its turn to read");
        }
        P::sched().with_current(|me| me.rw_locks.add(self.address()));
        ReadGuard {
            value: Some(self.value.try_read().expect("BUG: a reader meets a writer")),
            lock: self,
            held,
            _not_send: PhantomData,
        }
    }

    /// Takes the lock for writing; sleeps until it is free.
    ///
    /// # Context
    /// Thread, preemption on; not inside a guard of the same lock.
    ///
    /// # Panics
    /// As [`RwLock::read`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write(&self) -> WriteGuard<'_, T, P> {
        might_sleep_in::<P>("RwLock::write");
        self.take_write(self.key.acquire())
    }

    /// Does as [`RwLock::write`] for a thread that may hold other locks of the same
    /// class: see [`Mutex::lock_nested`](crate::sched::lock::Mutex::lock_nested).
    ///
    /// # Context
    /// As [`RwLock::write`].
    ///
    /// # Panics
    /// As [`RwLock::write`]; in a debug build also if the order isn't kept.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write_nested(&self, nesting: Nesting) -> WriteGuard<'_, T, P> {
        might_sleep_in::<P>("RwLock::write_nested");
        self.take_write(self.key.acquire_nested(nesting))
    }

    fn take_write<'a>(&'a self, held: LockHeld<'a, P>) -> WriteGuard<'a, T, P> {
        let waits = {
            let me = P::sched().current();
            let mut inner = self.inner.lock_irqsave();
            self.check_may_wait(&inner, &me);
            if inner.writer.is_some() || inner.readers > 0 {
                inner.waiting_writers.add(&me);
                Some((me, inner.gets_on()))
            } else {
                inner.writer = Some(me);
                None
            }
        };
        if let Some((me, gets_on)) = waits {
            self.wait(&self.write_spins, &me, gets_on, "its turn to write");
        }
        WriteGuard {
            value: Some(self.value.try_write().expect("BUG: a writer is not alone")),
            lock: self,
            held,
            _not_send: PhantomData,
        }
    }

    /// Waits until `me`, which is in line for `what`, has been let in. `gets_on` says whether those
    /// that have the lock get on.
    fn wait(&self, spins: &SpinBudget, me: &Arc<Thread<P>>, gets_on: bool, what: &str) {
        let sleep = || wait_until_taken(&self.inner, me, what);
        if !gets_on {
            return sleep();
        }
        // A hint: it looks under the lock before it sleeps.
        let is_over = || !me.wait_link.is_linked();
        spin_then_sleep::<P, ()>(spins, Instant::FOREVER, is_over, sleep);
    }

    /// Returns the lock's address, by which it is recognised: the address of a field
    /// other than the value, because the value may contain a lock too.
    fn address(&self) -> usize {
        core::ptr::from_ref(&self.inner).addr()
    }

    /// Checks that `me`, the running thread, has no guard of the lock, even if it would
    /// not have to wait.
    fn check_may_wait(&self, inner: &Inner<P>, me: &Thread<P>) {
        let writes = |writer: &Arc<Thread<P>>| core::ptr::eq(Arc::as_ptr(writer), me);
        assert!(
            !inner.writer.as_ref().is_some_and(writes),
            "BUG: {me:?} takes an RwLock that it writes under"
        );
        // Without a reader the entry in the thread's record is of a guard that was
        // forgotten.
        assert!(
            inner.readers == 0 || !me.rw_locks.contains(self.address()),
            "BUG: {me:?} takes an RwLock that it reads under"
        );
    }

    fn leave_read(&self) {
        P::sched().with_current(|me| me.rw_locks.remove(self.address()));
        let mut inner = self.inner.lock_irqsave();
        inner.readers -= 1;
        inner.let_writer_in();
    }

    fn leave_write(&self) {
        let mut inner = self.inner.lock_irqsave();
        inner.writer = None;
        inner.readers += inner.waiting_readers.wake_all();
        inner.let_writer_in();
    }
}

/// The value can be read, and no thread changes it, while this exists.
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
        self.value = None; // Before another thread is let in (only-holders-try).
        self.lock.leave_read();
    }
}

/// Only this thread may access the value while this exists.
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
        self.value = None; // Before another thread is let in (only-holders-try).
        self.lock.leave_write();
    }
}
