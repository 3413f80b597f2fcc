//! The queue of works of a stopper: filled by any CPU while it is enabled,
//! emptied by one.
//!
//! A work is a node that its owner keeps, so queueing allocates nothing, and a work that has
//! not begun can be taken back.
//!
//! # Invariants
//! - **accepted-stays**: a work that was accepted stays until it is taken, by the stopper or
//!   back by its owner, whether the queue is enabled or not. It is taken once.
//! - **last-stays-last**: one work is pushed, and the queue disabled, under one lock
//!   ([`Behind::Refused`]). So all that the queue has accepted is before that work, and nothing
//!   comes in behind it.
//! - **closed-in-order**: a queue is disabled while works that wait for each other are pushed, under
//!   their lock. So of several such works all are accepted, or none.
//! - **count-under-lock**: the count is stored under that lock, so a thread that reads
//!   it after a push or a take that happened before sees at least the count stored
//!   there.
//! - **queued-once**: a node is in one queue at most: its owner pushes it again only when it has
//!   been taken.
//! - **one-order-of-stops**: works that wait for each other are pushed together, under one lock
//!   ([`push_together`]). So of two stops that have several CPUs in common one is before the other
//!   in the queue of each, and no circle of stops can wait for each other.
//!
//! # Memory ordering
//! The lock makes what was done before a push visible to the stopper that takes the
//! work. The count orders nothing and is Relaxed: a CPU that queues a work wakes the
//! stopper's thread afterwards. That wake and the thread's decision to wait are taken
//! under one lock, so the thread reads the new count or is woken (`blocking-before-check` of
//! [`BlockState`](crate::sched::BlockState)).
//!
//! `tests/loom_stopper.rs` model-checks this file.

#![forbid(unsafe_code)]

use intrusive_collections::{LinkedList, LinkedListAtomicLink};

use crate::stop_machine::work_link::WorkLink;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{IrqGuard, LocalCpu, SpinLock};

/// A work, and its place in a queue.
pub struct WorkNode<T: 'static> {
    pub(super) link: LinkedListAtomicLink,
    work: T,
}

impl<T> WorkNode<T> {
    /// Returns a node that is in no queue.
    pub fn new(work: T) -> WorkNode<T> {
        WorkNode {
            link: LinkedListAtomicLink::new(),
            work,
        }
    }

    /// Returns the work.
    #[inline]
    pub fn work(&self) -> &T {
        &self.work
    }

    /// Returns whether the node was in a queue a moment ago: for diagnosis.
    pub fn is_queued_racy(&self) -> bool {
        self.link.is_linked()
    }
}

struct Inner<T: 'static> {
    enabled: bool,
    works: LinkedList<WorkLink<T>>,
}

/// Works that wait for their stopper.
pub struct WorkQueue<T: 'static, E: LocalCpu> {
    /// The order of locks is in `docs/architecture.md`.
    inner: SpinLock<Inner<T>, E>,
    /// How many works there are (count-under-lock): read without the lock.
    queued: AtomicUsize,
}

impl<T: Sync, E: LocalCpu> WorkQueue<T, E> {
    /// Makes a disabled, empty queue.
    pub fn new() -> Self {
        Self::make(false)
    }

    /// Makes an empty queue that accepts work.
    pub fn enabled() -> Self {
        Self::make(true)
    }

    fn make(enabled: bool) -> Self {
        WorkQueue {
            inner: SpinLock::new(Inner {
                enabled,
                works: LinkedList::new(WorkLink::new()),
            }),
            queued: AtomicUsize::new(0),
        }
    }

    /// Returns whether the queue accepts work.
    pub fn is_enabled(&self) -> bool {
        self.inner.lock_irqsave().enabled
    }

    /// Has the queue accept work from now on, until a work is pushed that is the last ([`Behind::Refused`]).
    pub fn enable(&self) {
        self.inner.lock_irqsave().enabled = true;
    }

    /// Queues `node` behind the others if the queue is enabled; returns whether it is.
    ///
    /// # Panics
    /// If the node is in a queue already (queued-once).
    #[must_use]
    pub fn push(&self, node: &'static WorkNode<T>) -> bool {
        self.push_masked(node, true, &IrqGuard::new())
    }

    /// Does as [`WorkQueue::push`], and disables the queue if it isn't to stay enabled
    /// (last-stays-last). Works that wait for others may be in it, so that is done in
    /// [`push_everywhere`] (closed-in-order).
    #[inline]
    fn push_masked(
        &self,
        node: &'static WorkNode<T>,
        stays_enabled: bool,
        masked: &IrqGuard<E>,
    ) -> bool {
        let mut inner = self.inner.lock_masked(masked);
        let accepted = inner.enabled;
        if accepted {
            inner.works.push_back(node);
            inner.enabled = stays_enabled;
            let queued = self.queued.load(Ordering::Relaxed) + 1;
            self.queued.store(queued, Ordering::Relaxed);
        }
        accepted
    }

    /// Takes the oldest work, also from a disabled queue (accepted-stays). From then on it may
    /// be queued again.
    #[inline]
    pub fn pop(&self) -> Option<&'static WorkNode<T>> {
        let mut inner = self.inner.lock_irqsave();
        let node = inner.works.pop_front()?;
        self.note_taken();
        Some(node)
    }

    /// Takes `node` out, if it is in this queue; returns whether it was. Its stopper will not
    /// run it then.
    #[must_use]
    pub fn take_back(&self, node: &'static WorkNode<T>) -> bool {
        let mut inner = self.inner.lock_irqsave();
        let mut at = inner.works.front_mut();
        // A few: works of stops that wait for each other, and of single CPUs.
        while let Some(queued) = at.get() {
            if core::ptr::eq(queued, node) {
                at.remove();
                self.note_taken();
                return true;
            }
            at.move_next();
        }
        false
    }

    /// Notes that a node has left the list, under the lock.
    #[inline]
    fn note_taken(&self) {
        let queued = self.queued.load(Ordering::Relaxed) - 1;
        self.queued.store(queued, Ordering::Relaxed);
    }

    /// Returns whether there is work, without taking the lock.
    #[inline]
    pub fn has_work(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > 0
    }
}

/// Pushes works that wait for each other, each to its queue, in the order in which they come
/// (one-order-of-stops): all of them, or none (closed-in-order). `order` is the one lock of all such
/// pushes.
///
/// # Errors
/// The number of the first work, from 0, whose queue is disabled.
///
/// # Context
/// Any, with preemption off: none of the works begins on this CPU before all are queued. Masks
/// IRQs meanwhile, since the last CPU to finish a flush does this in a handler.
pub fn push_together<'a, T: Sync + 'static, E: LocalCpu + 'a>(
    order: &SpinLock<(), E>,
    works: impl Iterator<Item = (&'a WorkQueue<T, E>, &'static WorkNode<T>)> + Clone,
) -> Result<(), usize> {
    let masked = IrqGuard::<E>::new();
    let _together = order.lock_masked(&masked);
    let refused = works.clone().position(|(queue, _)| !queue.is_enabled());
    if let Some(nth) = refused {
        return Err(nth);
    }
    for (queue, node) in works {
        let accepted = queue.push(node);
        assert!(accepted, "BUG: a queue is disabled out of order");
    }
    Ok(())
}

/// Whether a queue accepts works behind one that is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// It stays enabled.
    Accepted,
    /// It is disabled (last-stays-last).
    Refused,
}

/// Does as [`push_together`] for the queues of all CPUs, which the caller knows to be enabled, and
/// disables those that are to refuse what would come behind (closed-in-order).
///
/// # Errors
/// The number of the first work that was not accepted, from 0. Those before it are queued.
///
/// # Context
/// As [`push_together`].
#[inline]
pub fn push_everywhere<'a, T: Sync + 'static, E: LocalCpu + 'a>(
    order: &SpinLock<(), E>,
    works: impl Iterator<Item = (&'a WorkQueue<T, E>, &'static WorkNode<T>, Behind)>,
) -> Result<(), usize> {
    let masked = IrqGuard::new();
    let _together = order.lock_masked(&masked);
    for (nth, (queue, node, behind)) in works.enumerate() {
        if !queue.push_masked(node, behind == Behind::Accepted, &masked) {
            return Err(nth);
        }
    }
    Ok(())
}

impl<T: Sync, E: LocalCpu> Default for WorkQueue<T, E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::nowhere::Nowhere;
    use alloc::boxed::Box;
    use core::iter::once;

    fn node(work: u32) -> &'static WorkNode<u32> {
        Box::leak(Box::new(WorkNode::new(work)))
    }

    #[test]
    fn what_is_taken_back_is_not_run_and_the_rest_is_in_order() {
        let queue = WorkQueue::<u32, Nowhere>::new();
        let nodes = [node(1), node(2), node(3)];
        assert!(!queue.push(nodes[0]), "it is disabled");
        queue.enable();
        for node in nodes {
            assert!(queue.push(node));
        }
        assert!(nodes[1].is_queued_racy());
        assert!(queue.take_back(nodes[1]));
        assert!(!nodes[1].is_queued_racy());
        assert!(!queue.take_back(nodes[1]), "once");
        assert_eq!(queue.pop().map(|node| *node.work()), Some(1));
        assert_eq!(queue.pop().map(|node| *node.work()), Some(3));
        assert!(queue.pop().is_none() && !queue.has_work());
        assert!(queue.push(nodes[1]), "free again");
    }

    #[test]
    fn nothing_is_accepted_behind_the_last_work() {
        let order = SpinLock::<(), Nowhere>::new(());
        let queue = WorkQueue::<u32, Nowhere>::new();
        let push_last = |node| push_everywhere(&order, once((&queue, node, Behind::Refused)));
        queue.enable();
        assert!(queue.push(node(1)) && push_last(node(2)).is_ok());
        assert!(!queue.push(node(3)) && push_last(node(4)).is_err());
        assert_eq!(queue.pop().map(|node| *node.work()), Some(1));
        assert_eq!(queue.pop().map(|node| *node.work()), Some(2));
        assert!(!queue.is_enabled() && !queue.has_work());
        queue.enable();
        assert!(queue.push(node(5)));
    }

    #[test]
    fn works_that_wait_for_each_other_are_all_accepted_or_none() {
        let order = SpinLock::<(), Nowhere>::new(());
        let queues = [WorkQueue::<u32, Nowhere>::new(), WorkQueue::new()];
        let push = || push_together(&order, queues.iter().zip([node(1), node(2)]));
        assert_eq!(push(), Err(0));
        queues[0].enable();
        assert_eq!(push(), Err(1));
        assert!(!queues[0].has_work());
        queues[1].enable();
        assert_eq!(push(), Ok(()));
        assert!(queues.iter().all(WorkQueue::has_work));
        let stop = |behind: [Behind; 2]| {
            let works = queues.iter().zip(behind);
            let works = works.map(|(queue, behind)| (queue, node(3), behind));
            push_everywhere(&order, works)
        };
        assert_eq!(stop([Behind::Accepted, Behind::Refused]), Ok(()));
        assert_eq!(push(), Err(1));
        assert_eq!(stop([Behind::Accepted; 2]), Err(1));
    }
}
