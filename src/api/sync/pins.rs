//! What keeps a thread on its CPU: spin locks, masked IRQs and preemption that is off.

use core::fmt;

use crate::api::rcu::ReadGuard;
use crate::api::sync::{Nesting, changes};
use crate::kernel::{Hw, Sealed};
use crate::sync;

/// A guard that keeps its thread on its CPU while it exists. A program can't implement it.
pub trait KeepsCpu: Sealed {}

impl<T> Sealed for SpinLockGuard<'_, T> {}
impl<T> KeepsCpu for SpinLockGuard<'_, T> {}
impl Sealed for IrqGuard {}
impl KeepsCpu for IrqGuard {}
impl Sealed for PreemptGuard {}
impl KeepsCpu for PreemptGuard {}
impl Sealed for ReadGuard {}
impl KeepsCpu for ReadGuard {}

// Tests have the kernel's own guards.
#[cfg(feature = "internals")]
impl<G: sync::PinnedCpu<Hw>> Sealed for G {}
#[cfg(feature = "internals")]
impl<G: sync::PinnedCpu<Hw>> KeepsCpu for G {}

/// A value that one CPU at a time may use; other CPUs spin until it is free. For sections of
/// a few instructions, and for data that interrupt handlers and threads share.
///
/// ```no_run
#[doc = include_str!("../../../examples/api/ring.rs")]
/// ```
pub struct SpinLock<T>(sync::SpinLock<T, Hw>);

impl<T> SpinLock<T> {
    /// Returns an open lock around `value`.
    ///
    /// # Context
    /// Any.
    #[cfg_attr(debug_assertions, track_caller)]
    pub const fn new(value: T) -> SpinLock<T> {
        SpinLock(sync::SpinLock::new(value))
    }

    /// Takes the lock with preemption off.
    ///
    /// # Context
    /// Thread. Not for a lock that an interrupt handler takes too:
    /// [`SpinLock::lock_irqsave`].
    ///
    /// # Panics
    /// If this CPU holds it already, in the caller or in the code that the caller has
    /// interrupted: the wait would have no end.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        SpinLockGuard(self.0.lock())
    }

    /// Takes the lock with IRQs masked, so that nothing else runs on this CPU.
    ///
    /// # Context
    /// Any.
    ///
    /// # Panics
    /// As [`SpinLock::lock`].
    #[inline]
    #[track_caller]
    pub fn lock_irqsave(&self) -> SpinLockGuard<'_, T> {
        SpinLockGuard(self.0.lock_irqsave())
    }

    /// Does as [`SpinLock::lock_irqsave`] for a caller that may hold other locks of the same
    /// class: `nesting` gives the order in which it takes them.
    ///
    /// # Context
    /// Any.
    ///
    /// # Panics
    /// As [`SpinLock::lock`]; in a debug build also if the order isn't kept.
    #[inline]
    #[track_caller]
    pub fn lock_irqsave_nested(&self, nesting: Nesting) -> SpinLockGuard<'_, T> {
        SpinLockGuard(self.0.lock_irqsave_nested(nesting))
    }

    /// Takes the lock where IRQs are masked already, as `masked` shows.
    ///
    /// # Context
    /// Any.
    ///
    /// # Panics
    /// As [`SpinLock::lock`].
    #[inline]
    #[track_caller]
    pub fn lock_masked<'a>(&'a self, masked: &'a IrqGuard) -> SpinLockGuard<'a, T> {
        SpinLockGuard(self.0.lock_masked(&masked.0))
    }

    /// Does as [`SpinLock::lock_irqsave`], but returns `None` at once if the lock is taken.
    ///
    /// # Context
    /// Any.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_lock_irqsave(&self) -> Option<SpinLockGuard<'_, T>> {
        self.0.try_lock_irqsave().map(SpinLockGuard)
    }
}

impl<T> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A [`SpinLock`] is held while this exists. Not `Send`: it is about the CPU that took the
/// lock.
#[must_use]
pub struct SpinLockGuard<'a, T>(sync::SpinLockGuard<'a, T, Hw>);

changes!(SpinLockGuard);

/// IRQs are masked on this CPU while this exists. The guards of a CPU end in the reverse of
/// the order in which they began; a debug build panics if not. Not `Send`.
#[must_use]
#[derive(Debug, Default)]
pub struct IrqGuard(sync::IrqGuard<Hw>);

impl IrqGuard {
    /// Masks IRQs until the guard is dropped.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn new() -> IrqGuard {
        IrqGuard(sync::IrqGuard::new())
    }
}

/// The running thread isn't preempted while this exists. It stays on its CPU, and no still
/// point can begin. Not `Send`.
#[must_use]
#[derive(Debug, Default)]
pub struct PreemptGuard(sync::PreemptGuard<Hw>);

impl PreemptGuard {
    /// Turns preemption off until the guard is dropped.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn new() -> PreemptGuard {
        PreemptGuard(sync::PreemptGuard::new())
    }
}
