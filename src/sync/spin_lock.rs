//! Spin locks: `spin`'s mutex, with preemption (or IRQs) off while held.
//!
//! The lock is unfair on purpose: a fair one hands itself to a virtual CPU that
//! the host isn't running. A holder is never preempted, so the wait is short.
//!
//! A guard is a token: while one lives, no still point can begin.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use spin::RelaxStrategy;
use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::sync::{Exec, IrqGuard, PreemptGuard};

/// Waiting is `E::relax`.
struct Relax<E>(PhantomData<fn() -> E>);

impl<E: Exec> RelaxStrategy for Relax<E> {
    fn relax() {
        E::relax();
    }
}

/// A value that one CPU at a time may touch.
pub struct SpinLock<T, E: Exec> {
    inner: SpinMutex<T, Relax<E>>,
}

impl<T, E: Exec> SpinLock<T, E> {
    /// An open lock around `value`.
    pub const fn new(value: T) -> Self {
        SpinLock {
            inner: SpinMutex::new(value),
        }
    }

    /// Takes the lock with preemption off.
    ///
    /// # Context
    /// Thread. Not for a lock that an interrupt handler takes too:
    /// [`SpinLock::lock_irqsave`].
    pub fn lock(&self) -> SpinLockGuard<'_, T, E> {
        let preempt = PreemptGuard::new();
        SpinLockGuard {
            inner: self.inner.lock(),
            _irq: None,
            _preempt: preempt,
        }
    }

    /// Takes the lock with IRQs masked and preemption off. Any context.
    pub fn lock_irqsave(&self) -> SpinLockGuard<'_, T, E> {
        let preempt = PreemptGuard::new();
        let irq = IrqGuard::new();
        SpinLockGuard {
            inner: self.inner.lock(),
            _irq: Some(irq),
            _preempt: preempt,
        }
    }

    /// As [`SpinLock::lock_irqsave`], but gives up at once if it is taken.
    pub fn try_lock_irqsave(&self) -> Option<SpinLockGuard<'_, T, E>> {
        let preempt = PreemptGuard::new();
        let irq = IrqGuard::new();
        Some(SpinLockGuard {
            inner: self.inner.try_lock()?,
            _irq: Some(irq),
            _preempt: preempt,
        })
    }

    /// Opens the lock though somebody holds it.
    ///
    /// # Safety
    /// The holder never runs again, or never touches the value again: only a
    /// panic, with the other CPUs stopped, may say so.
    pub unsafe fn break_lock(&self) {
        // SAFETY: the caller's promise is the one that `force_unlock` asks for.
        unsafe { self.inner.force_unlock() };
    }
}

impl<T, E: Exec> fmt::Debug for SpinLock<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpinLock { .. }")
    }
}

/// The lock is held while this exists.
///
/// Fields are dropped in order: the lock opens, IRQs come back, and then the
/// last guard's drop is a preemption point with IRQs on.
#[must_use]
pub struct SpinLockGuard<'a, T, E: Exec> {
    inner: SpinMutexGuard<'a, T, Relax<E>>,
    _irq: Option<IrqGuard<E>>,
    _preempt: PreemptGuard<E>,
}

impl<T, E: Exec> Deref for SpinLockGuard<'_, T, E> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T, E: Exec> DerefMut for SpinLockGuard<'_, T, E> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
