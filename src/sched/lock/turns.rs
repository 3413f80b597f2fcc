//! The line of a mutex: which thread holds it, and which threads wait for it, the most urgent
//! first and equals in the order in which they came. The first one lends its level to the
//! owner: `inherit` has the rules.
//!
//! # Invariants
//! - **urgent-in-front**: no thread in line stands before one that waits at a more urgent
//!   level.
//! - **woken-in-time**: a thread that gives back what it had inherited wakes the next owner
//!   before the lock around the line is open. Behind that lock it may lose its CPU, and the
//!   next owner would wait until it has it back.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use intrusive_collections::LinkedList;

use crate::sched::class::NORMAL_LEVEL;
use crate::sched::lock::inherit::Heir;
use crate::sync::const_unless_loom;

/// What a thread finds that waits for a mutex.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is the owner.
    Has,
    /// It has waited until its limit, and left the line.
    GaveUp,
    /// It waits: it is about to block.
    Waits,
}

/// The owner of a mutex and the threads that wait for it. Its user keeps it under a lock.
pub struct Turns<T: Heir> {
    owner: Option<Arc<T>>,
    line: LinkedList<T::WaitLink>,
    /// Whether the first thread in line lends to the owner (`first-lends` of `inherit`).
    lends: bool,
}

impl<T: Heir> Turns<T> {
    const_unless_loom! {
        /// Returns the line of a mutex that no thread holds.
        pub const fn new() -> Self {
            Turns {
                owner: None,
                line: LinkedList::new(T::WAIT_LINK),
                lends: false,
            }
        }
    }

    /// Returns the thread that holds the mutex.
    #[inline]
    pub fn owner(&self) -> Option<&Arc<T>> {
        self.owner.as_ref()
    }

    /// Returns how many threads wait. For tests.
    #[cfg(feature = "internals")]
    pub fn waiting(&self) -> usize {
        self.line.iter().count()
    }

    /// Makes `me` the owner of the mutex, which no thread holds.
    #[inline]
    pub fn take(&mut self, me: Arc<T>) {
        self.owner = Some(me);
    }

    /// Puts `me` in line. It looks next.
    pub fn queue(&mut self, me: &Arc<T>) {
        let level = me.level();
        me.place().wait_at(level);
        if self.lends || level < NORMAL_LEVEL {
            self.rearrange(|turns| turns.insert(me, level));
        } else {
            self.line.push_back(Arc::clone(me));
        }
    }

    /// Looks whether `me` has got the mutex; `late_fn` says whether it gives up else. If it
    /// goes on waiting it is about to block, at its place.
    pub fn look(&mut self, me: &Arc<T>, late_fn: impl FnOnce() -> bool) -> Turn {
        if !me.wait_link().is_linked() {
            me.place().leave();
            return Turn::Has;
        }
        if late_fn() {
            self.rearrange(|turns| turns.remove(me)); // (`no-loan-left` of `inherit`)
            me.place().leave();
            return Turn::GaveUp;
        }
        T::about_to_block(me);
        let level = me.level(); // (`change-wakes` of `inherit`)
        if level != me.place().at() {
            self.rearrange(|turns| {
                turns.remove(me);
                me.place().wait_at(level);
                turns.insert(me, level);
            });
        }
        Turn::Waits
    }

    /// Hands the mutex over to the first thread in line, or lets it go. Returns the new owner
    /// for the caller to wake when the lock around this is open, unless it is woken already.
    ///
    /// # Context
    /// The owner.
    #[inline]
    pub fn hand_over(&mut self) -> Option<Arc<T>> {
        if self.line.is_empty() {
            self.owner = None;
            return None;
        }
        if self.lends {
            self.hand_over_to_lender();
            return None;
        }
        let next = self.line.pop_front();
        self.owner = next.clone();
        next
    }

    #[cold]
    fn hand_over_to_lender(&mut self) {
        let (Some(me), Some(next)) = (self.owner.take(), self.line.pop_front()) else {
            panic!("BUG: a loan without an owner or a lender");
        };
        me.with_lenders(|lenders| lenders.remove(&next)); // (`no-loan-left` of `inherit`)
        self.owner = Some(Arc::clone(&next));
        self.lends = false;
        self.rearrange(|_| ());
        T::wake(&next); // (woken-in-time)
        me.with_lenders(|lenders| lenders.settle(&me));
    }

    /// Changes the line with `change_fn`, and which thread lends (`first-lends` of `inherit`).
    fn rearrange(&mut self, change_fn: impl FnOnce(&mut Self)) {
        let owner = self.owner.clone();
        let owner = owner.expect("BUG: a thread waits for a mutex that is free");
        owner.with_lenders(|lenders| {
            if self.lends
                && let Some(first) = self.line.front().get()
            {
                lenders.remove(first);
            }
            change_fn(self);
            let first = self.line.front().clone_pointer();
            let lender = first.filter(|first| first.place().is_urgent());
            self.lends = lender.is_some();
            if let Some(lender) = lender {
                lenders.add(lender);
            }
            lenders.settle(&owner);
        });
    }

    /// Puts `me` behind those that wait at its level or at a more urgent one
    /// (urgent-in-front).
    fn insert(&mut self, me: &Arc<T>, level: usize) {
        let mut at = self.line.front_mut();
        while at.get().is_some_and(|other| other.place().at() <= level) {
            at.move_next();
        }
        at.insert_before(Arc::clone(me));
    }

    fn remove(&mut self, me: &Arc<T>) {
        let mut at = self.line.front_mut();
        while at
            .get()
            .is_some_and(|other| !core::ptr::eq(other, Arc::as_ptr(me)))
        {
            at.move_next();
        }
        let removed = at.remove();
        assert!(removed.is_some(), "BUG: a thread waits for two things");
    }
}

impl<T: Heir> Default for Turns<T> {
    fn default() -> Self {
        Self::new()
    }
}
