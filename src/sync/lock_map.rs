//! A map: work that threads wait for, as a lock class.

#![forbid(unsafe_code)]

use crate::sync::lockdep::LockKind;
use crate::sync::{LocalCpu, LockHeld, LockKey};

/// The work of a thread, which others wait for: see [`crate::sync::lockdep`]. In a
/// release build nothing.
#[derive(Debug)]
pub struct LockMap(LockKey);

impl LockMap {
    /// Makes a map of the class that the caller's source location identifies.
    #[cfg_attr(debug_assertions, track_caller)]
    pub const fn new() -> LockMap {
        LockMap::of(&())
    }

    /// Makes a map of the class that the caller's source location and the type of the
    /// worker identify.
    #[cfg_attr(debug_assertions, track_caller)]
    pub const fn of<F: ?Sized>(_does_it: &F) -> LockMap {
        LockMap(LockKey::new::<F>(LockKind::Map))
    }

    /// Returns another map of the same class.
    pub const fn same(&self) -> LockMap {
        LockMap(self.0.same())
    }

    /// Notes that this thread does the work until the guard is dropped.
    #[cfg_attr(debug_assertions, track_caller)]
    #[inline]
    pub fn work<E: LocalCpu>(&self) -> LockMapGuard<'_, E> {
        LockMapGuard(self.0.acquire())
    }

    /// Notes that this thread is about to wait until the work is done.
    #[cfg_attr(debug_assertions, track_caller)]
    #[inline]
    pub fn wait<E: LocalCpu>(&self) {
        self.0.acquire::<E>().release();
    }
}

impl Default for LockMap {
    #[cfg_attr(debug_assertions, track_caller)]
    fn default() -> Self {
        Self::new()
    }
}

/// The thread does the work while this exists.
#[must_use]
pub struct LockMapGuard<'a, E: LocalCpu>(LockHeld<'a, E>);

impl<E: LocalCpu> Drop for LockMapGuard<'_, E> {
    #[inline]
    fn drop(&mut self) {
        self.0.release();
    }
}
