//! A value behind a [`SpinWord`], and the wait for it.

use core::marker::PhantomData;
use core::num::NonZeroUsize;
use core::ops::{Deref, DerefMut};

use crate::sync::spin_word::SpinWord;
use crate::sync::{LocalCpu, UnsafeCell};

/// Turns between two looks at the clock.
const TURNS: u32 = 1024;

/// A value that one CPU at a time may touch, whatever that CPU does meanwhile.
pub(super) struct Lock<T, E> {
    word: SpinWord,
    value: UnsafeCell<T>,
    _exec: PhantomData<fn() -> E>,
}

// SAFETY: a guard alone leads to the value, and there is one at a time (holders-in-order),
// so that to share the lock is to send the value.
unsafe impl<T: Send, E> Sync for Lock<T, E> {}

/// The value is this CPU's while this exists.
pub(super) struct Guard<'a, T, E> {
    lock: &'a Lock<T, E>,
    _value: PhantomData<&'a mut T>,
}

impl<T, E: LocalCpu> Lock<T, E> {
    pub(super) const fn new(value: T) -> Self {
        Lock {
            word: SpinWord::new(),
            value: UnsafeCell::new(value),
            _exec: PhantomData,
        }
    }

    /// Takes the lock; turns until it can be had.
    ///
    /// # Context
    /// Preemption off.
    ///
    /// # Panics
    /// If this CPU holds it: the turn would have no end.
    #[inline]
    #[track_caller]
    pub(super) fn lock(&self) -> Guard<'_, T, E> {
        let me = E::cpu_mark();
        if !self.word.try_take(me) {
            wait::<E>(&self.word, me, core::any::type_name::<T>);
        }
        self.guard()
    }

    /// Takes the lock if it is open.
    ///
    /// # Context
    /// As [`Lock::lock`].
    #[inline]
    pub(super) fn try_lock(&self) -> Option<Guard<'_, T, E>> {
        self.word.try_take(E::cpu_mark()).then(|| self.guard())
    }

    fn guard(&self) -> Guard<'_, T, E> {
        Guard {
            lock: self,
            _value: PhantomData,
        }
    }

    /// Opens the lock in the place of a guard.
    ///
    /// # Safety
    /// The guard that would have opened it never touches the value again.
    #[inline]
    pub(super) unsafe fn force_unlock(&self) {
        self.word.open();
    }
}

/// Takes `word`, which was closed; `type_name_fn` says what it guards.
#[cold]
#[inline(never)]
#[track_caller]
fn wait<E: LocalCpu>(word: &SpinWord, me: NonZeroUsize, type_name_fn: fn() -> &'static str) {
    let mut late_at = None;
    loop {
        for _ in 0..TURNS {
            match word.holder() {
                Some(holder) => assert!(
                    holder != me,
                    "BUG: this CPU takes a spin lock of {} that it holds",
                    type_name_fn()
                ),
                None if word.try_take(me) => return,
                None => {}
            }
            E::relax();
        }
        if let Some(holder) = word.holder() {
            E::spins_long(&mut late_at, holder, type_name_fn());
        }
    }
}

impl<T, E> Deref for Guard<'_, T, E> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is this guard's, so nothing else leads to the value now.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, E> DerefMut for Guard<'_, T, E> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard itself is borrowed whole.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T, E> Drop for Guard<'_, T, E> {
    #[inline]
    fn drop(&mut self) {
        self.lock.word.open();
    }
}
