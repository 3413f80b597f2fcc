//! The order in which threads get a CPU that holds realtime threads back, because they have
//! had all that they may have of it ([`bandwidth`](crate::sched::bandwidth)).
//!
//! # Invariants
//! - **kernel-then-ordinary**: while realtime threads are held back, the order is: the
//!   kernel's own threads, boosted threads, ordinary threads, realtime threads. A boosted
//!   thread is one that is more urgent than its class because another one waits for it.

#![forbid(unsafe_code)]

use crate::sched::bandwidth::Bandwidth;
use crate::sched::class::{KERNEL_LEVEL, LEVELS, NORMAL_LEVEL};
use crate::sched::ready::{Order, ReadyQueue};
use crate::sched::{RunQueue, SchedHost, Thread};

/// Returns the rank of `thread` while realtime threads are held back: a thread of a lower
/// rank goes first. Realtime threads come behind the ordinary ones, in their order, and the
/// idle thread, `None`, behind all (kernel-then-ordinary).
pub(crate) fn rank_if_held<P: SchedHost>(thread: Option<&Thread<P>>) -> usize {
    let Some(thread) = thread else {
        return 2 * LEVELS;
    };
    let level = thread.level();
    if Bandwidth::is_for(level) && !thread.urgency.is_boosted() {
        level + LEVELS
    } else {
        level
    }
}

impl<P: SchedHost> ReadyQueue<P> {
    /// Returns the rank of the thread that is next while realtime threads are held back.
    #[cold]
    #[inline(never)]
    pub(crate) fn first_rank_if_held(&self) -> Option<usize> {
        self.first_if_held().map(|first| rank_if_held(Some(first)))
    }

    /// Returns the thread that is next while realtime threads are held back.
    fn first_if_held(&self) -> Option<&Thread<P>> {
        let kernel = |thread: &&Thread<P>| thread.level() <= KERNEL_LEVEL;
        let boosted = |thread: &&Thread<P>| thread.urgency.is_boosted();
        self.all_realtime()
            .find(|thread| kernel(thread) || boosted(thread))
            .or_else(|| self.first_ordinary())
            .or_else(|| self.all_realtime().next())
    }

    /// Puts the thread that is next while realtime threads are held back before the others of
    /// its level, which may not be boosted. Returns the level.
    #[cold]
    #[inline(never)]
    pub(super) fn bring_to_front_if_held(&mut self) -> Option<usize> {
        let first = self.first_if_held()?;
        let level = first.level();
        let first = core::ptr::from_ref(first);
        if level < NORMAL_LEVEL {
            let mut at = self.levels[level].front_mut();
            while at.get().is_some_and(|other| !core::ptr::eq(other, first)) {
                at.move_next();
            }
            if let Some(first) = at.remove() {
                self.levels[level].push_front(first);
            }
        }
        Some(level)
    }
}

impl<P: SchedHost> RunQueue<P> {
    /// Returns what [`RunQueue::should_preempt`] does where threads don't get the CPU by
    /// urgency.
    #[cold]
    #[inline(never)]
    pub(super) fn should_preempt_in_other_order(&self) -> bool {
        if self.ready.order() == Order::MarkedOnly {
            return self.should_preempt_in_flush();
        }
        let rank = rank_if_held(self.current.as_deref());
        self.must_move
            || match self.ready.first_rank_if_held() {
                Some(first) => first < rank || (first == rank && self.slice_over),
                None => false,
            }
    }
}
