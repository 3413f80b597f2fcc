//! The lock for changes of what hotplug does, and of which CPUs there are. It is outside the
//! lock of the CPUs: an operation on a CPU takes both, and so does a thread that installs or
//! removes a step. A callback of `prep:post-dead` runs under this lock alone, so no operation
//! begins meanwhile, but other threads may read the lock of the CPUs.
//!
//! All wait for it at the level of the kernel's own threads: so each comes in its turn, however
//! often others take the lock. An operation keeps that level until it has released the lock.
//!
//! # Invariants
//! - **lent-once**: a thread is lent that level only if it may take the lock, which it doesn't
//!   hold then. Loans don't nest, and one that is refused in the middle of an operation must not
//!   end that of the operation.

#![forbid(unsafe_code)]

use crate::sched::lock::cpus_lock::may_wait;
use crate::sched::lock::{Mutex, MutexGuard, WouldDeadlock};
use crate::sched::{LentUrgency, SchedHost, ThreadName};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::might_sleep_in;
use crate::time::Instant;

/// Whether a thread holds the add/remove lock. Relaxed: only the thread itself uses it.
#[derive(Debug)]
pub(crate) struct HeldAddRemoveLock(AtomicBool);

impl HeldAddRemoveLock {
    /// Returns the state of a thread that doesn't hold the lock.
    pub(crate) fn new() -> HeldAddRemoveLock {
        HeldAddRemoveLock(AtomicBool::new(false))
    }

    /// Returns whether the thread holds the lock.
    pub(in crate::sched) fn is_held(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, held: bool) {
        self.0.store(held, Ordering::Relaxed);
    }
}

/// The lock, and the level at which its holder has waited.
type Taken<'a, P> = (AddRemoveGuard<'a, P>, LentUrgency<P>);

/// The add/remove lock.
pub struct AddRemoveLock<P: SchedHost>(Mutex<(), P>);

impl<P: SchedHost> AddRemoveLock<P> {
    /// Returns an open lock.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn new() -> Self {
        AddRemoveLock(Mutex::new(()))
    }

    /// Takes the lock. Returns also the level at which it has waited, for an operation to keep until
    /// it has released the lock.
    ///
    /// # Context
    /// Thread, preemption on, not pinned; sleeps while another thread has the lock.
    ///
    /// # Errors
    /// [`WouldDeadlock`], whether it would have to wait or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock_if_it_may(&self) -> Result<Taken<'_, P>, WouldDeadlock> {
        self.check()?;
        let urgent = P::sched().lend_urgency(); // (lent-once)
        Ok((Self::taken(self.0.lock()), urgent))
    }

    /// Does as [`AddRemoveLock::lock_if_it_may`], but waits no longer than until `at`. Returns
    /// `None` then.
    ///
    /// # Context
    /// As [`AddRemoveLock::lock_if_it_may`].
    ///
    /// # Errors
    /// As [`AddRemoveLock::lock_if_it_may`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock_until_if_it_may(&self, at: Instant) -> Result<Option<Taken<'_, P>>, WouldDeadlock> {
        self.check()?;
        let urgent = P::sched().lend_urgency(); // (lent-once)
        let guard = self.0.lock_until(at);
        Ok(guard.map(|guard| (Self::taken(guard), urgent)))
    }

    /// Returns the name of the thread that has the lock, or had it a moment ago.
    pub fn owner_racy(&self) -> Option<ThreadName> {
        self.0.owner_racy().map(|owner| *owner.name())
    }

    /// Returns whether the running thread may wait for the lock.
    ///
    /// # Errors
    /// [`WouldDeadlock`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn check(&self) -> Result<(), WouldDeadlock> {
        might_sleep_in::<P>("a function of hotplug");
        may_wait::<P>()?;
        if P::sched().with_current(|me| me.add_remove_lock.is_held()) {
            return Err(WouldDeadlock::AddsOrRemoves);
        }
        Ok(())
    }

    fn taken(guard: MutexGuard<'_, (), P>) -> AddRemoveGuard<'_, P> {
        P::sched().with_current(|me| me.add_remove_lock.set(true));
        AddRemoveGuard(guard)
    }
}

impl<P: SchedHost> Default for AddRemoveLock<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// Only this thread may add or remove steps, and bring CPUs up or take them down, while this
/// exists.
#[must_use]
pub struct AddRemoveGuard<'a, P: SchedHost>(
    #[expect(dead_code, reason = "it is dropped")] MutexGuard<'a, (), P>,
);

impl<P: SchedHost> Drop for AddRemoveGuard<'_, P> {
    fn drop(&mut self) {
        P::sched().with_current(|me| me.add_remove_lock.set(false));
    }
}
