//! The runnable threads of one CPU: a queue for each level, and a bit mask of the
//! levels whose queue is not empty.
//!
//! # Invariants
//! - **bit-if-queued**: a level's bit is set if and only if the level's queue holds a
//!   thread.
//! - **movable-is-counted**: `movable` counts the queued threads that may run on
//!   another CPU. A thread's pins don't change while it is queued.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use intrusive_collections::LinkedList;

use crate::cpu::{CpuId, CpuMask};
use crate::sched::class::LEVELS;
use crate::sched::links::RunLink;
use crate::sched::{SchedHost, Thread};

/// Runnable threads: the most urgent first, within a level in the order in which they
/// came.
pub(crate) struct ReadyQueue<P: SchedHost> {
    levels: [LinkedList<RunLink<P>>; LEVELS],
    occupied: [u64; 2],
    movable: usize,
}

const _: () = assert!(LEVELS <= 2 * 64);

impl<P: SchedHost> ReadyQueue<P> {
    pub(crate) fn new() -> Self {
        ReadyQueue {
            levels: [const { LinkedList::new(RunLink::NEW) }; LEVELS],
            occupied: [0; 2],
            movable: 0,
        }
    }

    /// Returns whether no thread is queued.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.occupied == [0; 2]
    }

    /// Returns the level of the thread that is next.
    #[inline]
    pub(crate) fn first_level(&self) -> Option<usize> {
        match self.occupied {
            [0, 0] => None,
            [0, high] => Some(64 + high.trailing_zeros() as usize),
            [low, _] => Some(low.trailing_zeros() as usize),
        }
    }

    /// Returns whether a thread is queued at `level`.
    #[inline]
    pub(crate) fn has(&self, level: usize) -> bool {
        level < LEVELS && self.occupied[level / 64] & (1 << (level % 64)) != 0
    }

    /// Returns how many queued threads may run on another CPU.
    pub(crate) fn movable(&self) -> usize {
        self.movable
    }

    /// Returns one of `cpus` to which a queued thread may be moved.
    pub(crate) fn cpu_for_one(&self, cpus: &CpuMask) -> Option<CpuId> {
        let queued = self.levels.iter().flat_map(LinkedList::iter);
        queued
            .filter(|thread| thread.is_movable())
            .find_map(|thread| thread.affinity().and(cpus).first())
    }

    /// Queues `thread` before the others of its level.
    ///
    /// # Panics
    /// If it is queued already (`queued-if-ready` of [`sched`](crate::sched)).
    #[inline]
    pub(crate) fn push_front(&mut self, thread: Arc<Thread<P>>) {
        let level = self.admit(&thread);
        self.levels[level].push_front(thread);
    }

    /// Queues `thread` behind the others of its level.
    ///
    /// # Panics
    /// If it is queued already (`queued-if-ready` of [`sched`](crate::sched)).
    #[inline]
    pub(crate) fn push_back(&mut self, thread: Arc<Thread<P>>) {
        let level = self.admit(&thread);
        self.levels[level].push_back(thread);
    }

    /// Counts `thread`, which is about to be queued; returns its level.
    #[inline]
    fn admit(&mut self, thread: &Thread<P>) -> usize {
        assert!(
            !thread.run_link.is_linked(),
            "BUG: {thread:?} is queued already"
        );
        let level = thread.level();
        assert!(level < LEVELS, "BUG: an idle thread is never queued");
        self.occupied[level / 64] |= 1 << (level % 64);
        self.movable += usize::from(thread.is_movable());
        level
    }

    /// Removes the next thread and returns it.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Arc<Thread<P>>> {
        let level = self.first_level()?;
        let thread = self.levels[level].pop_front();
        self.account(level, thread.as_deref());
        thread
    }

    /// Removes and returns a thread for which `want_fn` returns true: the least urgent
    /// one, and within a level the last that came.
    pub(crate) fn take_last(
        &mut self,
        mut want_fn: impl FnMut(&Thread<P>) -> bool,
    ) -> Option<Arc<Thread<P>>> {
        for level in (0..LEVELS).rev() {
            if !self.has(level) {
                continue;
            }
            let mut at = self.levels[level].back_mut();
            while let Some(thread) = at.get() {
                if want_fn(thread) {
                    let thread = at.remove();
                    self.account(level, thread.as_deref());
                    return thread;
                }
                at.move_prev();
            }
        }
        None
    }

    /// Removes `thread` and returns it, if it is queued here.
    pub(crate) fn remove(&mut self, thread: &Thread<P>) -> Option<Arc<Thread<P>>> {
        if !thread.run_link.is_linked() {
            return None;
        }
        self.take_last(|other| core::ptr::eq(other, thread))
    }

    /// Updates the bit and the count after `thread` was removed from `level`
    /// (bit-if-queued, movable-is-counted).
    #[inline]
    fn account(&mut self, level: usize, thread: Option<&Thread<P>>) {
        if self.levels[level].is_empty() {
            self.occupied[level / 64] &= !(1 << (level % 64));
        }
        self.movable -= usize::from(thread.is_some_and(Thread::is_movable));
    }
}
