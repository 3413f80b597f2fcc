//! A value behind a [`SpinWord`], and the wait for it.
//!
//! A waiter turns for as long as waits for spin locks have been worth it lately
//! ([`SpinBudget`](crate::sync::SpinBudget)), and then sleeps in WFE until the word is stored to.
//! There is one budget for all locks of the machine. Each is held for a moment, whatever it guards,
//! so a long wait says something about the machine: its host doesn't run the holder. A sleep leaves
//! the core to the host then.
//!
//! | Machine | YIELD | WFE |
//! |---|---|---|
//! | a core | does nothing, or lets another thread of the core go first | sleeps until the holder's store |
//! | a virtual CPU (KVM), the only thread of its core | as above | as above |
//! | ... where others wait for the core | as above | traps: the host runs another virtual CPU, one that was preempted if there is one |
//! | QEMU, one host thread for all CPUs | hands the turn over | hands the turn over |
//! | QEMU, a host thread for each CPU | does nothing | does nothing |
//!
//! A sleep is taken to cost what one in WFI does ([`SleepCost`](crate::sync::SleepCost)): a trapped
//! WFE costs about that, and one that doesn't trap costs less, so that the CPU spins for a
//! microsecond or so where it might have slept. What a WFE itself costs can't be seen: an unlock
//! notes no time. The turns stay few where waits are long.
//!
//! # Sources
//! Linux: `arch/arm64/kvm/handle_exit.c` and `kvm_vcpu_on_spin` for the trap, and
//! `kvm_vcpu_should_clear_twe` for when there is none; `__cmpwait_case_64` for the wait. QEMU:
//! `trans_YIELD` and `trans_WFE`.

use core::marker::PhantomData;
use core::num::NonZeroUsize;
use core::ops::{Deref, DerefMut};

use crate::sync::spin_word::SpinWord;
use crate::sync::{LocalCpu, Spins, UnsafeCell};

/// How many times a waiter sleeps between two looks at the clock: 26 ms at most, because no sleep
/// is longer than 100 us. An emulator whose WFE does nothing needs microseconds for that, and a
/// look takes the lock of all its devices.
const SLEEPS: u32 = 256;

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
    // No closure: the place of the panic is the caller's. While it waits, no other code of this CPU
    // can leave the word with its mark.
    assert!(
        word.holder() != Some(me),
        "BUG: this CPU takes a spin lock of {} that it holds",
        type_name_fn()
    );
    let take = || word.holder().is_none() && word.try_take(me);
    let spins = E::lock_spins().map_or(Spins::Turns(0), Spins::Learnt);
    if spins.spin::<E, ()>(|| take().then_some(())).is_some() {
        return;
    }
    spins.sleep_until_store::<E, ()>(|| {
        let mut late = None;
        loop {
            for _ in 0..SLEEPS {
                if take() {
                    return;
                }
                word.sleep_while_held::<E>();
            }
            if let Some(holder) = word.holder() {
                E::spins_long(&mut late, holder, type_name_fn());
            }
        }
    });
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

#[cfg(test)]
mod tests;
