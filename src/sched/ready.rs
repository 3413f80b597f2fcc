//! The runnable threads of one CPU: a list for each level above the ordinary one, a tree
//! for the ordinary threads, and a bit mask of the levels at which a thread is queued.
//!
//! # Invariants
//! - **bit-if-queued**: a level's bit is set if and only if a thread is queued at the
//!   level.
//! - **movable-is-counted**: `movable` counts the queued threads that may run on another
//!   CPU, and `movable_realtime` those of them that are realtime. A thread's pins don't
//!   change while it is queued; if its CPUs do, it is counted anew.
//! - **first-of-all**: no thread in the tree has an earlier turn than `next_ordinary`. If
//!   there is no `next_ordinary`, the tree is empty.
//! - **level-while-queued**: a thread's level doesn't change while it is queued. A
//!   function that changes it removes the thread first.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use intrusive_collections::{KeyAdapter, LinkedList, RBTree};

use crate::cpu::{CpuId, CpuMask};
use crate::sched::class::{LEVELS, NORMAL_LEVEL};
use crate::sched::links::{FairLink, RunLink};
use crate::sched::{SchedHost, Thread};

/// Runnable threads: the most urgent first. Within a realtime level in the order in which
/// they came; ordinary ones in the order of their turns.
pub(crate) struct ReadyQueue<P: SchedHost> {
    pub(super) levels: [LinkedList<RunLink<P>>; NORMAL_LEVEL],
    /// The ordinary thread that is next (first-of-all). It is outside the tree, so that
    /// a few threads that take turns cost no more than in a list.
    next_ordinary: Option<Arc<Thread<P>>>,
    /// The other ordinary threads, by [`Share::turn`](crate::sched::share::Share::turn).
    ordinary: RBTree<FairLink<P>>,
    occupied: [u64; 2],
    movable: usize,
    movable_realtime: usize,
    /// The sum of the weights of the queued ordinary threads.
    weight: u64,
    order: Order,
}

/// In which order threads get the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The most urgent first.
    ByUrgency,
    /// Ordinary threads go before realtime ones (`ordinary-get-the-rest` of
    /// [`bandwidth`](crate::sched::bandwidth)).
    HoldsRealtime,
    /// Only stoppers and marked threads do (`only-marked-run` of
    /// [`flush`](crate::sched::flush)).
    MarkedOnly,
}

const _: () = assert!(LEVELS <= 2 * 64);

impl<'a, P: SchedHost> KeyAdapter<'a> for FairLink<P> {
    type Key = u64;
    fn get_key(&self, thread: &'a Thread<P>) -> u64 {
        thread.share.turn()
    }
}

impl<P: SchedHost> ReadyQueue<P> {
    pub(crate) fn new() -> Self {
        ReadyQueue {
            levels: [const { LinkedList::new(RunLink::NEW) }; NORMAL_LEVEL],
            next_ordinary: None,
            ordinary: RBTree::new(FairLink::NEW),
            occupied: [0; 2],
            movable: 0,
            movable_realtime: 0,
            weight: 0,
            order: Order::ByUrgency,
        }
    }

    /// Sets in which order threads get the CPU from now on.
    pub(crate) fn set_order(&mut self, order: Order) {
        self.order = order;
    }

    /// Returns in which order threads get the CPU.
    #[inline]
    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// Returns whether ordinary threads go before realtime ones.
    #[inline]
    pub(crate) fn holds_realtime(&self) -> bool {
        self.order == Order::HoldsRealtime
    }

    /// Returns whether no thread is queued.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.occupied == [0; 2]
    }

    /// Returns the most urgent level at which a thread is queued.
    #[inline]
    pub(crate) fn most_urgent_level(&self) -> Option<usize> {
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

    /// Returns whether no thread above the ordinary level is queued.
    #[inline]
    pub(crate) fn has_no_realtime(&self) -> bool {
        let [low, high] = self.occupied;
        low == 0 && high & !(1 << (NORMAL_LEVEL - 64)) == 0
    }

    /// Returns how many queued threads may run on another CPU.
    #[inline]
    pub(crate) fn movable(&self) -> usize {
        self.movable
    }

    /// Returns whether a thread is queued that may be taken off its CPU.
    pub(crate) fn any_may_leave(&self) -> bool {
        self.all().any(|thread| thread.may_leave())
    }

    /// Calls `change_fn`, which changes the CPUs of `thread`, which may be queued here
    /// (movable-is-counted).
    pub(crate) fn with_change_of<R>(
        &mut self,
        thread: &Thread<P>,
        change_fn: impl FnOnce() -> R,
    ) -> R {
        let result = change_fn();
        if thread.is_queued() {
            let before = usize::from(thread.note_dequeued());
            let after = usize::from(thread.note_queued());
            self.movable = self.movable + after - before;
            if thread.level() < NORMAL_LEVEL {
                self.movable_realtime = self.movable_realtime + after - before;
            }
        }
        result
    }

    /// Returns the level of the most urgent realtime thread that is queued and may run
    /// on another CPU.
    pub(crate) fn first_movable_realtime(&self) -> Option<usize> {
        if self.movable_realtime == 0 {
            return None;
        }
        self.occupied_levels().find(|level| {
            let mut queued = self.levels[*level].iter();
            queued.any(|thread| thread.is_movable())
        })
    }

    /// Returns the sum of the weights of the queued ordinary threads; 0 if there is none.
    #[inline]
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// Returns the ordinary thread that is next, if one is queued.
    #[inline]
    pub(crate) fn first_ordinary(&self) -> Option<&Thread<P>> {
        self.next_ordinary.as_deref()
    }

    /// Returns the ordinary threads that are queued, the next one first.
    fn all_ordinary(&self) -> impl Iterator<Item = &Thread<P>> {
        self.next_ordinary
            .as_deref()
            .into_iter()
            .chain(&self.ordinary)
    }

    /// Returns the movable ordinary thread that is next, if one is queued.
    pub(crate) fn first_movable_ordinary(&self) -> Option<&Thread<P>> {
        self.all_ordinary().find(|thread| thread.is_movable())
    }

    /// Returns all queued threads, the most urgent first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Thread<P>> {
        self.all_realtime().chain(self.all_ordinary())
    }

    /// Returns the queued threads above the ordinary level, the most urgent first.
    pub(super) fn all_realtime(&self) -> impl Iterator<Item = &Thread<P>> {
        self.occupied_levels().flat_map(|level| &self.levels[level])
    }

    /// Returns one of `cpus` to which a queued thread may be moved.
    pub(crate) fn cpu_for_one(&self, cpus: &CpuMask) -> Option<CpuId> {
        self.all()
            .filter(|thread| thread.is_movable())
            .find_map(|thread| thread.affinity().and(cpus).first())
    }

    /// Returns the levels above the ordinary one at which a thread is queued, the most
    /// urgent first.
    fn occupied_levels(&self) -> impl Iterator<Item = usize> + use<P> {
        let [low, high] = self.occupied;
        let mut left = u128::from(high) << 64 | u128::from(low);
        core::iter::from_fn(move || {
            let level = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (level < NORMAL_LEVEL).then_some(level)
        })
    }

    /// Queues `thread` before the others of its level.
    ///
    /// # Panics
    /// If it is queued already (`queued-if-ready` of [`sched`](crate::sched)).
    #[inline]
    pub(crate) fn push_front(&mut self, thread: Arc<Thread<P>>) {
        let level = self.admit(&thread);
        if level == NORMAL_LEVEL {
            let first = self.next_ordinary.as_deref();
            thread
                .share
                .take_turn_by(first.map_or(u64::MAX, |first| first.share.turn()));
            self.put_first(thread);
        } else {
            self.levels[level].push_front(thread);
        }
    }

    /// Makes `thread` the next of the ordinary ones (first-of-all).
    fn put_first(&mut self, thread: Arc<Thread<P>>) {
        if let Some(second) = self.next_ordinary.replace(thread) {
            self.ordinary.front_mut().insert_before(second);
        }
    }

    /// Queues `thread` behind the others of its level; an ordinary thread behind those
    /// that have had no more of their shares.
    ///
    /// # Panics
    /// If it is queued already (`queued-if-ready` of [`sched`](crate::sched)).
    #[inline(always)] // Into a wake: its registers are saved once.
    pub(crate) fn push_back(&mut self, thread: Arc<Thread<P>>) {
        let level = self.admit(&thread);
        if level == NORMAL_LEVEL {
            thread.share.take_turn_by(u64::MAX);
            let turn = thread.share.turn();
            match &self.next_ordinary {
                Some(first) if first.share.turn() <= turn => {
                    self.ordinary.insert(thread);
                }
                _ => self.put_first(thread),
            }
        } else {
            self.levels[level].push_back(thread);
        }
    }

    /// Queues `thread`, which yields to `next`, behind the others of its level. An ordinary
    /// thread goes behind those that will be due when `next` has had a turn of `slice`
    /// ticks with the weight of `thread`. So it goes behind its equals, but not behind a
    /// thread that waits until the others have caught up (`yields-to-equals` of
    /// [`fair`](crate::sched::fair)).
    ///
    /// # Panics
    /// If it is queued already (`queued-if-ready` of [`sched`](crate::sched)).
    #[inline]
    pub(crate) fn push_yielding(
        &mut self,
        thread: Arc<Thread<P>>,
        next: Option<&Thread<P>>,
        slice: u64,
    ) {
        let level = self.admit(&thread);
        if level != NORMAL_LEVEL {
            self.levels[level].push_back(thread);
            return;
        }
        let Some(first) = &self.next_ordinary else {
            thread.share.take_turn_by(u64::MAX);
            self.next_ordinary = Some(thread);
            return;
        };
        let first = first.share.turn();
        let next = next.filter(|next| next.urgency.is_ordinary());
        let begin = next.map_or(first, |next| next.share.turn());
        let due = begin.saturating_add(thread.share.virtual_ticks(slice));
        let mut last = self.ordinary.back_mut();
        let latest = last.get().map_or(first, |last| last.share.turn());
        thread.share.take_turn_after(due.min(latest));
        let turn = thread.share.turn();
        if turn < first {
            self.put_first(thread);
        } else if turn >= latest {
            last.insert_after(thread);
        } else {
            self.ordinary.insert(thread);
        }
    }

    /// Counts `thread`, which is about to be queued; returns its level.
    #[inline(always)]
    fn admit(&mut self, thread: &Thread<P>) -> usize {
        assert!(!thread.is_queued(), "BUG: {thread:?} is queued already");
        let level = thread.level();
        assert!(level < LEVELS, "BUG: an idle thread is never queued");
        let movable = usize::from(thread.note_queued());
        self.occupied[level / 64] |= 1 << (level % 64);
        self.movable += movable;
        if level == NORMAL_LEVEL {
            self.weight += u64::from(thread.share.weight());
        } else {
            self.movable_realtime += movable;
        }
        level
    }

    /// Removes the next thread and returns it.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<Arc<Thread<P>>> {
        self.pop_as_urgent(usize::MAX, || usize::MAX)
    }

    /// Removes the next thread and returns it, if it is at least as urgent as one of `level`,
    /// whose rank while realtime threads are held back `rank_fn` returns. While only marked
    /// threads run, the next of them is urgent enough.
    #[inline(always)]
    pub(crate) fn pop_as_urgent(
        &mut self,
        level: usize,
        rank_fn: impl FnOnce() -> usize,
    ) -> Option<Arc<Thread<P>>> {
        let first = match self.order {
            Order::ByUrgency => self.most_urgent_level().filter(|first| *first <= level),
            Order::HoldsRealtime => {
                let first = self.first_rank_if_held()?;
                (first <= rank_fn()).then(|| self.bring_to_front_if_held())?
            }
            Order::MarkedOnly => return self.pop_marked(),
        };
        let level = first?;
        let thread = if level == NORMAL_LEVEL {
            self.pop_ordinary()
        } else {
            self.levels[level].pop_front()
        };
        self.account(level, thread.as_deref());
        thread
    }

    /// Removes the next ordinary thread, without counting that, and returns it.
    #[inline]
    fn pop_ordinary(&mut self) -> Option<Arc<Thread<P>>> {
        let second = if self.ordinary.is_empty() {
            None
        } else {
            self.ordinary.front_mut().remove()
        };
        core::mem::replace(&mut self.next_ordinary, second)
    }

    /// Removes and returns the first realtime thread for which `want_fn` returns true, if
    /// it is more urgent than `level`.
    pub(crate) fn take_first_realtime(
        &mut self,
        below: usize,
        mut want_fn: impl FnMut(&Thread<P>) -> bool,
    ) -> Option<Arc<Thread<P>>> {
        for level in self.occupied_levels().take_while(|level| *level < below) {
            let mut at = self.levels[level].front_mut();
            while let Some(thread) = at.get() {
                if want_fn(thread) {
                    let thread = at.remove();
                    self.account(level, thread.as_deref());
                    return thread;
                }
                at.move_next();
            }
        }
        None
    }

    /// Removes and returns the first ordinary thread for which `want_fn` returns true.
    pub(crate) fn take_first_ordinary(
        &mut self,
        mut want_fn: impl FnMut(&Thread<P>) -> bool,
    ) -> Option<Arc<Thread<P>>> {
        if want_fn(self.next_ordinary.as_deref()?) {
            let thread = self.pop_ordinary();
            self.account(NORMAL_LEVEL, thread.as_deref());
            return thread;
        }
        let mut at = self.ordinary.front_mut();
        while let Some(thread) = at.get() {
            if want_fn(thread) {
                let thread = at.remove();
                self.account(NORMAL_LEVEL, thread.as_deref());
                return thread;
            }
            at.move_next();
        }
        None
    }

    /// Removes and returns the first thread for which `want_fn` returns true, the most
    /// urgent one.
    pub(crate) fn take_first(
        &mut self,
        mut want_fn: impl FnMut(&Thread<P>) -> bool,
    ) -> Option<Arc<Thread<P>>> {
        self.take_first_realtime(NORMAL_LEVEL, &mut want_fn)
            .or_else(|| self.take_first_ordinary(want_fn))
    }

    /// Removes `thread` and returns it, if it is queued here.
    pub(crate) fn remove(&mut self, thread: &Thread<P>) -> Option<Arc<Thread<P>>> {
        if !thread.is_queued() {
            return None;
        }
        let is_it = |other: &Thread<P>| core::ptr::eq(other, thread);
        let level = thread.level();
        if level == NORMAL_LEVEL {
            self.take_first_ordinary(is_it)
        } else {
            let mut at = self.levels[level].front_mut();
            while at.get().is_some_and(|other| !is_it(other)) {
                at.move_next();
            }
            let thread = at.remove();
            self.account(level, thread.as_deref());
            thread
        }
    }

    /// Updates the bit, the counts and the weight after `thread` was removed from `level`
    /// (bit-if-queued, movable-is-counted).
    #[inline(always)]
    fn account(&mut self, level: usize, thread: Option<&Thread<P>>) {
        let Some(thread) = thread else { return };
        let movable = usize::from(thread.note_dequeued());
        self.movable -= movable;
        let empty = if level == NORMAL_LEVEL {
            self.weight -= u64::from(thread.share.weight());
            self.next_ordinary.is_none()
        } else {
            self.movable_realtime -= movable;
            self.levels[level].is_empty()
        };
        if empty {
            self.occupied[level / 64] &= !(1 << (level % 64));
        }
    }
}
