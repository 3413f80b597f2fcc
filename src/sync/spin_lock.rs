//! Spin locks, with preemption or IRQs off while held.
//!
//! A lock knows the CPU that holds it ([`SpinWord`](crate::sync::SpinWord)): a CPU that
//! takes it again panics, in every build, and the log names the holder after a long wait.
//!
//! The lock is unfair on purpose: a fair one hands itself to a virtual CPU that
//! the host isn't running. A holder is never preempted, so the wait is short.
//!
//! A guard is a token: while one lives, no still point can begin.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

#[cfg(loom)]
use in_a_model::{Guard, Lock};

use crate::sync::lockdep::{LockKind, Nesting};
#[cfg(not(loom))]
use crate::sync::spin_cell::{Guard, Lock};
use crate::sync::{IrqFlags, IrqGuard, LocalCpu, LockHeld, LockKey, PinnedCpu};

/// In a model loom has to know which CPU waits for which: its own mutex stands for the
/// lock, whose word has a model of its own, `tests/loom_spin_word.rs`.
#[cfg(loom)]
mod in_a_model {
    use core::marker::PhantomData;
    use core::ops::{Deref, DerefMut};

    use loom::sync::{Mutex, MutexGuard};

    pub(super) struct Lock<T, E>(Mutex<T>, PhantomData<fn() -> E>);
    pub(super) struct Guard<'a, T, E>(MutexGuard<'a, T>, PhantomData<fn() -> E>);

    impl<T, E> Lock<T, E> {
        pub(super) fn new(value: T) -> Self {
            Lock(Mutex::new(value), PhantomData)
        }

        pub(super) fn lock(&self) -> Guard<'_, T, E> {
            Guard(
                self.0.lock().expect("a failed model runs no further"),
                PhantomData,
            )
        }

        pub(super) fn try_lock(&self) -> Option<Guard<'_, T, E>> {
            Some(Guard(self.0.try_lock().ok()?, PhantomData))
        }
    }

    impl<T, E> Deref for Guard<'_, T, E> {
        type Target = T;
        fn deref(&self) -> &T {
            &self.0
        }
    }

    impl<T, E> DerefMut for Guard<'_, T, E> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.0
        }
    }
}

/// A value that one CPU at a time may touch.
pub struct SpinLock<T, E: LocalCpu> {
    inner: Lock<T, E>,
    key: LockKey,
}

impl<T, E: LocalCpu> SpinLock<T, E> {
    const_unless_loom! {
        /// Returns an open lock around `value`.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new(value: T) -> Self {
            SpinLock {
                inner: Lock::new(value),
                key: LockKey::new::<T>(LockKind::Spin),
            }
        }
    }

    const_unless_loom! {
        /// As [`SpinLock::new`], but the validator doesn't look at the lock. A comment at
        /// each call in the kernel says why it need not: see [`crate::sync::lockdep`].
        pub const fn new_untracked(value: T) -> Self {
            SpinLock {
                inner: Lock::new(value),
                key: LockKey::untracked(),
            }
        }
    }

    /// Takes the lock with preemption off.
    ///
    /// # Context
    /// Thread. Not for a lock that an interrupt handler takes too:
    /// [`SpinLock::lock_irqsave`].
    ///
    /// # Panics
    /// If this CPU holds it already, in what called this or what it has interrupted: the
    /// wait would have no end.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> SpinLockGuard<'_, T, E> {
        E::preempt_disable();
        let held = self.key.acquire();
        SpinLockGuard::new(self.inner.lock(), held, Off::Preemption)
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
    pub fn lock_irqsave(&self) -> SpinLockGuard<'_, T, E> {
        let flags = E::irq_save();
        let held = self.key.acquire();
        SpinLockGuard::new(self.inner.lock(), held, Off::Irqs(flags))
    }

    /// As [`SpinLock::lock_irqsave`], where the caller may hold others of the same
    /// class: `nesting` says in which order it takes them.
    ///
    /// # Panics
    /// As [`SpinLock::lock`]; in a debug build also if the order isn't kept.
    #[inline]
    #[track_caller]
    pub fn lock_irqsave_nested(&self, nesting: Nesting) -> SpinLockGuard<'_, T, E> {
        let flags = E::irq_save();
        let held = self.key.acquire_nested(nesting);
        SpinLockGuard::new(self.inner.lock(), held, Off::Irqs(flags))
    }

    /// Takes the lock where IRQs are masked already, as the token says.
    ///
    /// # Panics
    /// As [`SpinLock::lock`].
    #[inline]
    #[track_caller]
    pub fn lock_masked<'a>(&'a self, _masked: &'a IrqGuard<E>) -> SpinLockGuard<'a, T, E> {
        let held = self.key.acquire();
        SpinLockGuard::new(self.inner.lock(), held, Off::Nothing)
    }

    /// As [`SpinLock::lock_irqsave`], but gives up at once if it is taken.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_lock_irqsave(&self) -> Option<SpinLockGuard<'_, T, E>> {
        let flags = E::irq_save();
        match self.inner.try_lock() {
            Some(inner) => {
                let held = self.key.acquired();
                Some(SpinLockGuard::new(inner, held, Off::Irqs(flags)))
            }
            None => {
                // SAFETY: they were saved just now, and no guard has been made since.
                unsafe { E::irq_restore(flags) };
                E::preempt_point();
                None
            }
        }
    }

    /// Opens a lock that was [left locked](SpinLockGuard::leave_locked). The IRQ mask
    /// stays as it is.
    ///
    /// # Safety
    /// The lock was left locked for the caller, and no other code opens it.
    #[inline]
    pub(crate) unsafe fn open_left(&self) {
        #[cfg(not(loom))]
        // SAFETY: the guard that would have opened the lock is gone, and the caller
        // promises that no other code opens it.
        unsafe {
            self.inner.force_unlock();
        };
        #[cfg(loom)]
        panic!("BUG: a model has no context switch");
    }

    /// Opens the lock though another CPU may hold it.
    ///
    /// # Safety
    /// The holder never runs again, or never touches the value again: only a
    /// panic, with the other CPUs stopped, may say so.
    #[cfg(not(loom))]
    pub unsafe fn break_lock(&self) {
        // SAFETY: the caller's promise is the one that `force_unlock` asks for.
        unsafe { self.inner.force_unlock() };
    }
}

impl<T, E: LocalCpu> fmt::Debug for SpinLock<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpinLock { .. }")
    }
}

/// What a guard turns off while it lives.
#[derive(Clone, Copy)]
enum Off {
    Preemption,
    Irqs(IrqFlags),
    /// Nothing: another guard has done so, and outlives this one.
    Nothing,
}

/// The lock is held while this exists. Its drop is a preemption point, except that of a
/// guard from [`SpinLock::lock_masked`]: IRQs stay masked behind it.
///
/// Not `Send`: it is about the CPU that made it.
#[must_use]
pub struct SpinLockGuard<'a, T, E: LocalCpu> {
    /// `None` only inside `drop`: the lock opens before anything comes back on.
    inner: Option<Guard<'a, T, E>>,
    held: LockHeld<'a, E>,
    off: Off,
    _not_send: PhantomData<*const ()>,
}

impl<'a, T, E: LocalCpu> SpinLockGuard<'a, T, E> {
    #[inline]
    fn new(inner: Guard<'a, T, E>, held: LockHeld<'a, E>, off: Off) -> Self {
        SpinLockGuard {
            inner: Some(inner),
            held,
            off,
            _not_send: PhantomData,
        }
    }
}

impl<T, E: LocalCpu> SpinLockGuard<'_, T, E> {
    /// Ends the guard with the lock still taken, and IRQs as they are; other code opens
    /// it later: [`SpinLock::open_left`].
    #[inline]
    pub(crate) fn leave_locked(guard: Self) {
        core::mem::forget(guard);
    }
}

impl<T, E: LocalCpu> PinnedCpu<E> for SpinLockGuard<'_, T, E> {}

impl<T, E: LocalCpu> Drop for SpinLockGuard<'_, T, E> {
    #[inline]
    fn drop(&mut self) {
        self.held.release();
        self.inner = None;
        match self.off {
            // SAFETY: it was turned off for this guard, which ends here.
            Off::Preemption => unsafe { E::preempt_enable_no_resched() },
            // SAFETY: they were saved for this guard, which ends here.
            Off::Irqs(flags) => unsafe { E::irq_restore(flags) },
            Off::Nothing => return,
        }
        E::preempt_point();
    }
}

impl<T, E: LocalCpu> Deref for SpinLockGuard<'_, T, E> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        self.inner.as_ref().expect("BUG: a guard outlived its drop")
    }
}

impl<T, E: LocalCpu> DerefMut for SpinLockGuard<'_, T, E> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("BUG: a guard outlived its drop")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::SpinLock;
    use crate::sync::nowhere::Nowhere;

    #[test]
    #[should_panic(expected = "BUG: this CPU takes a spin lock of u8 that it holds")]
    fn a_lock_is_not_taken_twice() {
        let lock = SpinLock::<u8, Nowhere>::new_untracked(0);
        let _outer = lock.lock_irqsave();
        assert!(lock.try_lock_irqsave().is_none(), "a try is no wait");
        drop(lock.lock());
    }

    #[test]
    fn a_lock_is_taken_again_when_it_is_open() {
        let lock = SpinLock::<u8, Nowhere>::new_untracked(0);
        for _ in 0..2 {
            *lock.lock() += 1;
        }
        *lock.try_lock_irqsave().expect("it is open") += 1;
        assert_eq!(*lock.lock_irqsave(), 3);
    }
}
