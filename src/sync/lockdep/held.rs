//! The locks that one thread holds.

use core::fmt;

use crate::sync::lockdep::{LockClass, Place, SleepReport, Where};

/// The most locks that a thread, and a handler that interrupts it, hold together.
pub(super) const DEPTH: usize = 24;

/// A lock that is held.
#[derive(Clone, Copy, Debug)]
pub struct HeldLock {
    /// The number of its class.
    pub(super) number: u16,
    pub(super) in_irq: bool,
    /// Its address: which of its class it is.
    pub(super) instance: usize,
    pub(super) class: LockClass,
    /// Where it was taken.
    pub(super) at: Place,
}

/// The locks that a thread holds, and those of a handler that interrupts it
/// (`own-lock-stack` of [`lockdep`](crate::sync::lockdep)).
pub struct HeldLocks {
    locks: [Option<HeldLock>; DEPTH],
    depth: usize,
    in_irq: bool,
}

impl HeldLocks {
    /// Makes an empty stack.
    pub const fn new() -> HeldLocks {
        HeldLocks {
            locks: [None; DEPTH],
            depth: 0,
            in_irq: false,
        }
    }

    /// Returns whether a handler runs.
    pub fn in_irq(&self) -> bool {
        self.in_irq
    }

    /// Notes that a handler begins, or ends.
    ///
    /// # Panics
    /// If it ends and holds a lock.
    pub fn set_in_irq(&mut self, in_irq: bool) {
        if let (false, Some(lock)) = (in_irq, self.all().find(|lock| lock.in_irq)) {
            panic!("BUG: a handler ends and holds {}", lock.class);
        }
        self.in_irq = in_irq;
    }

    /// Notes that `lock` is held; returns whether there was room for it.
    #[must_use]
    pub(super) fn push(&mut self, lock: HeldLock) -> bool {
        let Some(place) = self.locks.get_mut(self.depth) else {
            return false;
        };
        *place = Some(lock);
        self.depth += 1;
        true
    }

    /// Takes the lock at address `instance` off; returns whether it was there.
    pub(super) fn remove(&mut self, instance: usize) -> bool {
        let held = &mut self.locks[..self.depth];
        let is_it = |lock: &Option<HeldLock>| lock.is_some_and(|lock| lock.instance == instance);
        let Some(index) = held.iter().rposition(is_it) else {
            return false;
        };
        held[index..].rotate_left(1);
        self.depth -= 1;
        self.locks[self.depth] = None;
        true
    }

    /// Returns all locks, in the order in which they were taken.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &HeldLock> {
        self.locks[..self.depth].iter().flatten()
    }

    /// Returns the locks that are held here: by the thread, or by the handler if one runs.
    pub(super) fn here(&self) -> impl DoubleEndedIterator<Item = &HeldLock> {
        self.all().filter(|lock| lock.in_irq == self.in_irq)
    }

    /// Checks that the thread may wait here.
    ///
    /// # Errors
    /// The reason why it may not.
    pub fn may_sleep(
        &self,
        at: Place,
        preempt_count: u32,
        irqs_on: bool,
    ) -> Result<(), SleepReport> {
        if preempt_count == 0 && irqs_on && !self.in_irq {
            return Ok(());
        }
        let place = Where {
            in_irq: self.in_irq,
            irqs_on,
        };
        Err(SleepReport {
            at,
            preempt_count,
            place,
            holds: self.last_spin_lock().copied(),
        })
    }

    /// Returns the spin lock that was taken last of those that are held here.
    pub fn last_spin_lock(&self) -> Option<&HeldLock> {
        let spins = |lock: &&HeldLock| lock.class.kind == super::LockKind::Spin;
        self.here().rev().find(spins)
    }
}

impl Default for HeldLocks {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HeldLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}
