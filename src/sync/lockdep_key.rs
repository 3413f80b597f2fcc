//! What ties a lock to the validator: see [`crate::sync::lockdep`].

#![forbid(unsafe_code)]

use core::marker::PhantomData;
use core::panic::Location;

use crate::sync::LocalCpu;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::lockdep::{LockClass, LockKind, Manner, Nesting, Place};

/// The part of a lock by which the validator knows it. In a release build nothing.
#[derive(Debug)]
pub struct LockKey {
    /// The class; `None` for a lock that the validator doesn't look at.
    class: Option<LockClass>,
    /// The number of the class plus 1; 0 until it is known. Relaxed: the number never
    /// changes.
    number: AtomicU32,
}

impl LockKey {
    /// Makes a key of the lock class that the caller's source location and `T` identify.
    #[track_caller]
    pub const fn new<T: ?Sized>(kind: LockKind) -> LockKey {
        LockKey {
            class: Some(LockClass {
                kind,
                site: Location::caller(),
                type_name_fn: core::any::type_name::<T>,
                level: 0,
            }),
            number: AtomicU32::new(0),
        }
    }

    /// Makes the key of a lock that the validator doesn't look at.
    pub const fn untracked() -> LockKey {
        LockKey {
            class: None,
            number: AtomicU32::new(0),
        }
    }

    /// Returns another key of the same class.
    pub const fn same(&self) -> LockKey {
        LockKey {
            class: self.class,
            number: AtomicU32::new(0),
        }
    }

    /// Returns the class, `None` for a lock that the validator doesn't look at.
    pub fn class(&self) -> Option<LockClass> {
        self.class
    }

    /// Returns the number of the class; asks `find_fn` until it has returned one.
    pub fn number(&self, find_fn: impl FnOnce() -> Option<u16>) -> Option<u16> {
        match u16::try_from(self.number.load(Ordering::Relaxed)) {
            Ok(number @ 1..) => Some(number - 1),
            _ => {
                let number = find_fn()?;
                self.number.store(u32::from(number) + 1, Ordering::Relaxed);
                Some(number)
            }
        }
    }

    /// Tells the validator that the lock is about to be taken.
    #[track_caller]
    pub fn acquire<E: LocalCpu>(&self) -> LockHeld<'_, E> {
        self.acquire_as(Manner::Lock)
    }

    /// Tells the validator that the lock is about to be taken, by a thread that may hold
    /// others of its class.
    #[track_caller]
    pub fn acquire_nested<E: LocalCpu>(&self, nesting: Nesting) -> LockHeld<'_, E> {
        self.acquire_as(Manner::Nested(nesting))
    }

    /// Tells the validator that the lock was taken by a try.
    #[track_caller]
    pub fn acquired<E: LocalCpu>(&self) -> LockHeld<'_, E> {
        self.acquire_as(Manner::Try)
    }

    #[track_caller]
    fn acquire_as<E: LocalCpu>(&self, manner: Manner) -> LockHeld<'_, E> {
        if self.class.is_some() {
            let at: Place = Location::caller();
            E::lock_acquire(self, manner, at);
        }
        LockHeld {
            key: self,
            _exec: PhantomData,
        }
    }
}

/// Says that a lock is held, until [`LockHeld::release`].
#[must_use]
pub struct LockHeld<'a, E> {
    key: &'a LockKey,
    _exec: PhantomData<fn() -> E>,
}

impl<E: LocalCpu> LockHeld<'_, E> {
    /// Tells the validator that the lock is about to be opened.
    pub fn release(&self) {
        if self.key.class.is_some() {
            E::lock_release(self.key);
        }
    }
}

/// Checks that the caller may wait here, whether it will have to or not.
#[track_caller]
pub fn might_sleep<E: LocalCpu>() {
    might_sleep_in::<E>("schedule");
}

/// Does as [`might_sleep`]. `what` is the caller's name, as its users know it.
#[track_caller]
pub fn might_sleep_in<E: LocalCpu>(what: &'static str) {
    E::might_sleep(Location::caller(), what);
}

/// Checks that the caller, a function called `what`, holds no spin lock.
pub fn assert_no_spin_lock<E: LocalCpu>(what: &'static str) {
    E::assert_no_spin_lock(what);
}
