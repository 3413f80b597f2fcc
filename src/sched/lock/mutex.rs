//! A sleeping mutex that is handed over: the most urgent thread that waits gets it, of equals
//! the one that has waited longest, and no thread that comes later can take it in between.
//! The owner is as urgent meanwhile as the most urgent thread that waits: `inherit`.
//!
//! A thread that has taken its place in line spins for a moment before it sleeps: `spin_first`.
//!
//! # Invariants
//! - **owner-while-held**: the owner is set before its `lock` returns, until its
//!   guard is dropped. Then it becomes the first waiter, or `None` without a waiter.
//! - **only-owner-tries**: only the owner ever tries `value`'s own lock, so the try
//!   never fails. That lock exists so that the borrow needs no `unsafe`.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::sched::lock::spin_first::{gets_on, spin_then_sleep};
use crate::sched::lock::turns::{Turn, Turns};
use crate::sched::{Patience, patience};
use crate::sched::{SchedHost, Thread};
use crate::sync::lockdep::{LockKind, Nesting};
use crate::sync::{LockHeld, LockKey, SpinBudget, SpinLock, SpinLockGuard};
use crate::sync::{const_unless_loom, might_sleep_in};
use crate::time::Instant;

/// The locked line of a mutex.
type Locked<'a, P> = SpinLockGuard<'a, Turns<Thread<P>>, P>;

/// A value that one thread at a time may access; the others sleep.
pub struct Mutex<T, P: SchedHost> {
    turns: SpinLock<Turns<Thread<P>>, P>,
    value: SpinMutex<T>,
    /// How long a thread that waits spins before it sleeps.
    spins: SpinBudget,
    key: LockKey,
}

impl<T, P: SchedHost> Mutex<T, P> {
    const_unless_loom! {
        /// Returns an open mutex around `value`.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new(value: T) -> Self {
            Mutex {
                turns: SpinLock::new(Turns::new()),
                value: SpinMutex::new(value),
                spins: SpinBudget::of_thread(),
                key: LockKey::new::<T>(LockKind::Sleep),
            }
        }
    }

    /// Takes the mutex; sleeps until it is free, if that takes more than a moment. The owner is as
    /// urgent meanwhile as the running thread, if that is a realtime one.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Panics
    /// If the running thread holds it already: it would wait for ever.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, T, P> {
        might_sleep_in::<P>("Mutex::lock");
        self.take(self.key.acquire())
    }

    /// Does as [`Mutex::lock`], but waits no longer than until `at`. Returns `None` then.
    ///
    /// # Context
    /// As [`Mutex::lock`].
    ///
    /// # Panics
    /// As [`Mutex::lock`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock_until(&self, at: Instant) -> Option<MutexGuard<'_, T, P>> {
        might_sleep_in::<P>("Mutex::lock_until");
        let held = self.key.acquire();
        if self.become_owner(at) {
            return Some(self.guard(held));
        }
        held.release();
        None
    }

    /// Does as [`Mutex::lock`] for a thread that may hold other mutexes of the same
    /// class: those that were made at the same place around the same type. `nesting`
    /// gives the order in which the thread takes them, which the lock validator of a
    /// debug build checks. That of programs has an example.
    ///
    /// # Context
    /// As [`Mutex::lock`].
    ///
    /// # Panics
    /// As [`Mutex::lock`]; in a debug build also if the order isn't kept.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock_nested(&self, nesting: Nesting) -> MutexGuard<'_, T, P> {
        might_sleep_in::<P>("Mutex::lock_nested");
        self.take(self.key.acquire_nested(nesting))
    }

    #[inline]
    fn take<'a>(&'a self, held: LockHeld<'a, P>) -> MutexGuard<'a, T, P> {
        let has_it = self.become_owner(Instant::FOREVER);
        assert!(has_it, "BUG: a wait without limit ended without success");
        self.guard(held)
    }

    /// Makes the running thread the owner; waits until `at` if it must. Returns whether it is
    /// the owner.
    #[inline]
    fn become_owner(&self, at: Instant) -> bool {
        let me = P::sched().current();
        let mut turns = self.turns.lock_irqsave();
        if turns.owner().is_none() {
            turns.take(me);
            return true;
        }
        self.wait(turns, &me, at)
    }

    /// Waits in line until `me` is the owner, but no longer than until `at`. Returns whether
    /// it is.
    #[inline(never)]
    fn wait(&self, mut turns: Locked<'_, P>, me: &Arc<Thread<P>>, at: Instant) -> bool {
        let owner = turns.owner();
        assert!(
            !owner.is_some_and(|owner| Arc::ptr_eq(owner, me)),
            "BUG: {me:?} takes a mutex that it holds"
        );
        let gets_on = owner.is_some_and(|owner| gets_on(owner));
        turns.queue(me);
        if !gets_on {
            return self.sleep(turns, me, at);
        }
        drop(turns);
        // Both are hints: it looks under the lock before it sleeps. With another level it takes its
        // place anew (`change-wakes` of `inherit`).
        let is_over = || !me.wait_link.is_linked() || me.level() != me.place.at();
        spin_then_sleep::<P, bool>(&self.spins, at, is_over, || {
            self.sleep(self.turns.lock_irqsave(), me, at)
        })
    }

    /// Sleeps in line until `me` is the owner, but no longer than until `at`. Returns whether it
    /// is.
    fn sleep(&self, turns: Locked<'_, P>, me: &Arc<Thread<P>>, at: Instant) -> bool {
        let is_late = || at != Instant::FOREVER && P::now() >= at;
        let mut turns = turns;
        let mut late: Option<Patience> = None;
        loop {
            match turns.look(me, is_late) {
                Turn::Has => return true,
                Turn::GaveUp => return false,
                Turn::Waits => drop(turns),
            }
            let late = late.get_or_insert_with(Patience::begin::<P>);
            P::sched().schedule_until(me, at.min(late.next_look()));
            turns = self.turns.lock_irqsave();
            if me.wait_link.is_linked() && late.is_out(P::now()) {
                drop(turns);
                self.say_late(me);
                turns = self.turns.lock_irqsave();
            }
        }
    }

    /// Returns the thread that had the mutex a moment ago.
    pub fn owner_racy(&self) -> Option<Arc<Thread<P>>> {
        self.turns.lock_irqsave().owner().cloned()
    }

    /// Returns how many threads waited a moment ago. For tests.
    #[cfg(feature = "internals")]
    pub fn waiting_racy(&self) -> usize {
        self.turns.lock_irqsave().waiting()
    }

    /// Logs which thread has the mutex that `me` waits for.
    fn say_late(&self, me: &Thread<P>) {
        if let Some(owner) = self.owner_racy() {
            log::warn!(
                "{} has waited {} s for a mutex that {} on CPU{} holds (it is {:?})",
                me.name(),
                patience::<P>().as_secs(),
                owner.name(),
                owner.cpu(),
                owner.state_racy()
            );
        }
    }

    /// Takes the mutex if it is free.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T, P>> {
        let me = P::sched().current();
        {
            let mut turns = self.turns.lock_irqsave();
            if turns.owner().is_some() {
                return None;
            }
            turns.take(me);
        }
        Some(self.guard(self.key.acquired()))
    }

    fn guard<'a>(&'a self, held: LockHeld<'a, P>) -> MutexGuard<'a, T, P> {
        MutexGuard {
            value: Some(self.value.try_lock().expect("BUG: a mutex has two owners")),
            mutex: self,
            held,
            _not_send: PhantomData,
        }
    }
}

/// The mutex is held while this exists.
///
/// Not `Send`: the owner is the thread that made it.
#[must_use]
pub struct MutexGuard<'a, T, P: SchedHost> {
    /// `None` only inside `drop`.
    value: Option<SpinMutexGuard<'a, T>>,
    mutex: &'a Mutex<T, P>,
    held: LockHeld<'a, P>,
    _not_send: PhantomData<*const ()>,
}

impl<'a, T, P: SchedHost> MutexGuard<'a, T, P> {
    /// Returns the mutex that the guard holds.
    pub(super) fn mutex(&self) -> &'a Mutex<T, P> {
        self.mutex
    }
}

impl<T, P: SchedHost> Deref for MutexGuard<'_, T, P> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value.as_ref().expect("BUG: a guard outlived its drop")
    }
}

impl<T, P: SchedHost> DerefMut for MutexGuard<'_, T, P> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("BUG: a guard outlived its drop")
    }
}

impl<T, P: SchedHost> Drop for MutexGuard<'_, T, P> {
    fn drop(&mut self) {
        self.held.release();
        self.value = None; // Before another thread is the owner (only-owner-tries).
        // For the next owner (owner-while-held).
        let next = self.mutex.turns.lock_irqsave().hand_over();
        if let Some(next) = next {
            P::sched().wake(&next);
        }
    }
}
