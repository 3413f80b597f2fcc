//! The queue of works of a stopper: filled by any CPU while it is enabled,
//! emptied by one.
//!
//! A work is a node that its owner keeps, so queueing allocates nothing, and a work that has
//! not begun can be taken back.
//!
//! # Invariants
//! - **accepted-stays**: a work that was accepted stays until it is taken, by the stopper or
//!   back by its owner, whether the queue is enabled or not. It is taken once.
//! - **disabled-refuses**: a work is accepted or refused under the lock that disables
//!   the queue too: once it is disabled nothing comes in any more.
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
use crate::sync::{LocalCpu, SpinLock};

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
        WorkQueue {
            inner: SpinLock::new(Inner {
                enabled: false,
                works: LinkedList::new(WorkLink::new()),
            }),
            queued: AtomicUsize::new(0),
        }
    }

    /// Returns whether the queue accepts work.
    pub fn is_enabled(&self) -> bool {
        self.inner.lock_irqsave().enabled
    }

    /// Has the queue accept work from now on, or refuse it (disabled-refuses).
    pub fn set_enabled(&self, enabled: bool) {
        self.inner.lock_irqsave().enabled = enabled;
    }

    /// Queues `node` behind the others if the queue is enabled; returns whether it is.
    ///
    /// # Panics
    /// If the node is in a queue already (queued-once).
    #[must_use]
    pub fn push(&self, node: &'static WorkNode<T>) -> bool {
        let mut inner = self.inner.lock_irqsave();
        if inner.enabled {
            inner.works.push_back(node);
            let queued = self.queued.load(Ordering::Relaxed) + 1;
            self.queued.store(queued, Ordering::Relaxed);
        }
        inner.enabled
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
/// (one-order-of-stops). `order` is the one lock of all such pushes.
///
/// # Errors
/// The number of the first work that was not accepted, from 0. Those before it are queued.
///
/// # Context
/// Preemption off: none of the works begins on this CPU before all are queued.
#[inline]
pub fn push_together<'a, T: Sync + 'static, E: LocalCpu + 'a>(
    order: &SpinLock<(), E>,
    works: impl Iterator<Item = (&'a WorkQueue<T, E>, &'static WorkNode<T>)>,
) -> Result<(), usize> {
    let _together = order.lock();
    for (nth, (queue, node)) in works.enumerate() {
        if !queue.push(node) {
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

    fn node(work: u32) -> &'static WorkNode<u32> {
        Box::leak(Box::new(WorkNode::new(work)))
    }

    #[test]
    fn what_is_taken_back_is_not_run_and_the_rest_is_in_order() {
        let queue = WorkQueue::<u32, Nowhere>::new();
        let nodes = [node(1), node(2), node(3)];
        assert!(!queue.push(nodes[0]), "it is disabled");
        queue.set_enabled(true);
        for node in nodes {
            assert!(queue.push(node));
        }
        assert!(queue.take_back(nodes[1]));
        assert!(!queue.take_back(nodes[1]), "once");
        queue.set_enabled(false);
        assert_eq!(queue.pop().map(|node| *node.work()), Some(1));
        assert_eq!(queue.pop().map(|node| *node.work()), Some(3));
        assert!(queue.pop().is_none() && !queue.has_work());
        queue.set_enabled(true);
        assert!(queue.push(nodes[1]), "free again");
    }
}
