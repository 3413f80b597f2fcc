//! Locks around a value, in which threads sleep until they have the lock.

use crate::api::sync::{Nesting, changes, reads};
use crate::kernel::Hw;
use crate::kernel::entry::{Entered, enter};
use crate::sched::lock;
use crate::time::Instant;

/// A value that one thread at a time may use; other threads sleep until it is free.
///
/// ```no_run
#[doc = include_str!("../../../examples/api/accounts.rs")]
/// ```
pub struct Mutex<T>(lock::Mutex<T, Hw>);

impl<T> Mutex<T> {
    /// Returns an open mutex around `value`.
    ///
    /// # Context
    /// Any.
    #[cfg_attr(debug_assertions, track_caller)]
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(lock::Mutex::new(value))
    }

    /// Takes the mutex; sleeps until it is free. The most urgent thread that waits gets it
    /// next, of equals the one that has waited longest.
    ///
    /// A realtime thread that waits lends the thread that has the mutex its own urgency until
    /// that opens the mutex, and through that thread all on which it waits in turn.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Panics
    /// If the running thread holds it already: it would wait for ever.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let _in_kernel = enter();
        MutexGuard::new(self.0.lock())
    }

    /// Does as [`Mutex::lock`] for a thread that may hold other mutexes of the same
    /// class: those that were made at the same place around the same type. `nesting`
    /// gives the order in which the thread takes them, which the lock validator of a
    /// debug build checks. [`Mutex`] has an example.
    ///
    /// # Context
    /// As [`Mutex::lock`].
    ///
    /// # Panics
    /// As [`Mutex::lock`]; in a debug build also if the order isn't kept.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock_nested(&self, nesting: Nesting) -> MutexGuard<'_, T> {
        let _in_kernel = enter();
        MutexGuard::new(self.0.lock_nested(nesting))
    }

    /// Does as [`Mutex::lock`], but waits no longer than until `at`. Returns `None` then.
    ///
    /// # Context
    /// As [`Mutex::lock`].
    ///
    /// # Panics
    /// As [`Mutex::lock`].
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock_until(&self, at: Instant) -> Option<MutexGuard<'_, T>> {
        let _in_kernel = enter();
        self.0.lock_until(at).map(MutexGuard::new)
    }

    /// Takes the mutex if it is free. Returns `None` if it is not.
    ///
    /// # Context
    /// Thread; doesn't wait.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let _in_kernel = enter();
        self.0.try_lock().map(MutexGuard::new)
    }
}

/// A [`Mutex`] is held while this exists. Not `Send`: the thread that took the mutex opens
/// it.
#[must_use]
pub struct MutexGuard<'a, T>(Entered<lock::MutexGuard<'a, T, Hw>>);

impl<'a, T> MutexGuard<'a, T> {
    #[inline]
    pub(super) fn new(guard: lock::MutexGuard<'a, T, Hw>) -> MutexGuard<'a, T> {
        MutexGuard(Entered::new(guard))
    }

    #[inline]
    pub(super) fn into_inner(self) -> lock::MutexGuard<'a, T, Hw> {
        self.0.into_inner()
    }
}

changes!(MutexGuard);

/// A value that many threads may read, or one may change; other threads sleep until then. [`Mutex`]
/// has an example of both.
pub struct RwLock<T>(lock::RwLock<T, Hw>);

impl<T> RwLock<T> {
    /// Returns an open lock around `value`.
    ///
    /// # Context
    /// Any.
    #[cfg_attr(debug_assertions, track_caller)]
    pub const fn new(value: T) -> RwLock<T> {
        RwLock(lock::RwLock::new(value))
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
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        let _in_kernel = enter();
        RwLockReadGuard(Entered::new(self.0.read()))
    }

    /// Does as [`RwLock::read`] for a thread that may hold other locks of the same
    /// class: see [`Mutex::lock_nested`].
    ///
    /// # Context
    /// As [`RwLock::read`].
    ///
    /// # Panics
    /// As [`RwLock::read`]; in a debug build also if the order isn't kept.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read_nested(&self, nesting: Nesting) -> RwLockReadGuard<'_, T> {
        let _in_kernel = enter();
        RwLockReadGuard(Entered::new(self.0.read_nested(nesting)))
    }

    /// Takes the lock for writing; sleeps until it is free.
    ///
    /// # Context
    /// Thread, preemption on; not inside a guard of the same lock.
    ///
    /// # Panics
    /// As [`RwLock::read`].
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        let _in_kernel = enter();
        RwLockWriteGuard(Entered::new(self.0.write()))
    }

    /// Does as [`RwLock::write`] for a thread that may hold other locks of the same
    /// class: see [`Mutex::lock_nested`].
    ///
    /// # Context
    /// As [`RwLock::write`].
    ///
    /// # Panics
    /// As [`RwLock::write`]; in a debug build also if the order isn't kept.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write_nested(&self, nesting: Nesting) -> RwLockWriteGuard<'_, T> {
        let _in_kernel = enter();
        RwLockWriteGuard(Entered::new(self.0.write_nested(nesting)))
    }
}

/// An [`RwLock`] is held for reading while this exists. Not `Send`.
#[must_use]
pub struct RwLockReadGuard<'a, T>(Entered<lock::ReadGuard<'a, T, Hw>>);

reads!(RwLockReadGuard);

/// An [`RwLock`] is held for writing while this exists. Not `Send`.
#[must_use]
pub struct RwLockWriteGuard<'a, T>(Entered<lock::WriteGuard<'a, T, Hw>>);

changes!(RwLockWriteGuard);

/// A value that the first caller makes, once; other callers sleep until it is made.
///
/// ```no_run
#[doc = include_str!("../../../examples/api/host_name.rs")]
/// ```
pub struct Once<T>(lock::Once<T, Hw>);

impl<T> Once<T> {
    /// Returns a `Once` whose value isn't made yet.
    ///
    /// # Context
    /// Any.
    #[cfg_attr(debug_assertions, track_caller)]
    pub const fn new() -> Once<T> {
        Once(lock::Once::new())
    }

    /// Returns the value, if it has been made.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }

    /// Returns the value. The first call makes it by `make_fn`.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Panics
    /// If `make_fn` needs the value itself. In a context where no thread may sleep,
    /// whether the value is made or not.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn call_once(&self, make_fn: impl FnOnce() -> T) -> &T {
        let in_kernel = enter();
        self.0.call_once(|| in_kernel.call_app(make_fn))
    }
}

impl<T> Default for Once<T> {
    #[cfg_attr(debug_assertions, track_caller)]
    fn default() -> Self {
        Self::new()
    }
}
