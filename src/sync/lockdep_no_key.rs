//! Without a validator nothing ties a lock to it: see [`crate::sync::lockdep`].

#![forbid(unsafe_code)]

use core::marker::PhantomData;

use crate::sync::lockdep::{LockKind, Nesting};
use crate::sync::{LocalCpu, assert_may_schedule};

/// The part of a lock by which the validator of a debug build knows it.
#[derive(Debug)]
pub struct LockKey(());

impl LockKey {
    /// Makes a key of the lock class that the caller's source location and `T` identify.
    #[allow(
        clippy::extra_unused_type_parameters,
        reason = "the validator's has it"
    )]
    pub const fn new<T: ?Sized>(_: LockKind) -> LockKey {
        LockKey(())
    }

    /// Makes the key of a lock that the validator doesn't look at.
    pub const fn untracked() -> LockKey {
        LockKey(())
    }

    /// Returns another key of the same class.
    pub const fn same(&self) -> LockKey {
        LockKey(())
    }

    /// Would tell the validator that the lock is about to be taken.
    #[inline(always)]
    pub fn acquire<E: LocalCpu>(&self) -> LockHeld<'_, E> {
        LockHeld(PhantomData, PhantomData)
    }

    /// Would tell the validator that the lock is about to be taken, by a thread that may
    /// hold others of its class.
    #[inline(always)]
    pub fn acquire_nested<E: LocalCpu>(&self, _: Nesting) -> LockHeld<'_, E> {
        LockHeld(PhantomData, PhantomData)
    }

    /// Would tell the validator that the lock was taken by a try.
    #[inline(always)]
    pub fn acquired<E: LocalCpu>(&self) -> LockHeld<'_, E> {
        LockHeld(PhantomData, PhantomData)
    }
}

/// Says that a lock is held, until [`LockHeld::release`].
#[must_use]
pub struct LockHeld<'a, E>(PhantomData<&'a LockKey>, PhantomData<fn() -> E>);

impl<E: LocalCpu> LockHeld<'_, E> {
    /// Would tell the validator that the lock is about to be opened.
    #[inline(always)]
    pub fn release(&self) {}
}

/// The caller may have to wait now: see [`assert_may_schedule`].
#[inline(always)]
pub fn might_sleep<E: LocalCpu>() {
    might_sleep_in::<E>("schedule");
}

/// Does as [`might_sleep`]. `what` is the caller's name, as its users know it.
#[inline(always)]
pub fn might_sleep_in<E: LocalCpu>(what: &'static str) {
    assert_may_schedule::<E>(what);
}

/// Would check that the caller holds no spin lock: which locks it holds isn't known here.
#[inline(always)]
pub fn assert_no_spin_lock<E: LocalCpu>(_what: &'static str) {}
