//! Queues of entries (sleeping threads or timers) that are due at an instant, in the
//! order in which they come due.
//!
//! The tree's links are in the entries themselves, so nothing is allocated, however
//! many wait. Two entries that are due at the same instant come out in the order in
//! which they were added.
//!
//! # Invariants
//! - **one-queue-per-entry**: an entry is in one queue at most. The [`Claim`] in its
//!   [`Due`] names the CPU whose queue that is, and changes under the lock of the queue
//!   that it names.
//! - **unclaimed-is-out**: a read of `None` from an entry's claim, also without a lock,
//!   proves that the entry is in no queue. An entry that its own queue takes back never
//!   has the claim `None` in between.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use intrusive_collections::{Adapter, KeyAdapter, RBTree, RBTreeAtomicLink};

use crate::cpu::CpuId;
use crate::sched::links::{SleepLink, TimerLink};
use crate::sched::timer::TimerNode;
use crate::sched::{Claim, SchedHost, Thread};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::Instant;

/// The place of an entry in its queue: by its instant, then by the order of insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    at: Instant,
    serial: u64,
}

/// When an entry is due, and which CPU's queue holds it.
#[derive(Debug)]
pub(crate) struct Due {
    /// The instant, in counter ticks. `at` and `serial` are Relaxed: they change under
    /// the lock of the entry's queue (one-queue-per-entry).
    at: AtomicU64,
    serial: AtomicU64,
    claim: Claim,
}

impl Due {
    /// Returns the state of an entry that is in no queue.
    pub(crate) fn new() -> Due {
        Due {
            at: AtomicU64::new(0),
            serial: AtomicU64::new(0),
            claim: Claim::new(),
        }
    }

    fn key(&self) -> Key {
        Key {
            at: Instant(self.at.load(Ordering::Relaxed)),
            serial: self.serial.load(Ordering::Relaxed),
        }
    }

    /// Returns the CPU whose queue holds the entry. Without that queue's lock only
    /// `None` is certain (unclaimed-is-out); `Some` is a hint.
    pub(crate) fn queue(&self) -> Option<CpuId> {
        self.claim.queue()
    }

    /// Returns the claim, which says whose queue holds the entry.
    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }
}

/// An entry of a [`DueQueue`].
pub(crate) trait HasDue {
    /// Returns the part of the entry that its queue uses.
    fn due(&self) -> &Due;
}

impl<'a, P: SchedHost> KeyAdapter<'a> for SleepLink<P> {
    type Key = Key;
    fn get_key(&self, thread: &'a Thread<P>) -> Key {
        thread.due().key()
    }
}

impl<'a, P: SchedHost> KeyAdapter<'a> for TimerLink<P> {
    type Key = Key;
    fn get_key(&self, timer: &'a TimerNode<P>) -> Key {
        timer.due().key()
    }
}

/// The entries of one kind that wait on one CPU.
pub(crate) struct DueQueue<A: Adapter<LinkOps = intrusive_collections::rbtree::AtomicLinkOps>> {
    cpu: CpuId,
    tree: RBTree<A>,
    serial: u64,
}

impl<A, T> DueQueue<A>
where
    T: HasDue + 'static,
    A: Adapter<LinkOps = intrusive_collections::rbtree::AtomicLinkOps>
        + for<'a> KeyAdapter<'a, Key = Key>,
    A::PointerOps: intrusive_collections::PointerOps<Value = T, Pointer = Arc<T>>,
{
    /// Returns an empty queue of `cpu`.
    pub(crate) fn new(cpu: CpuId, adapter: A) -> Self {
        DueQueue {
            cpu,
            tree: RBTree::new(adapter),
            serial: 0,
        }
    }

    /// Adds `thing`, due at `at`, behind the entries that are due at that instant
    /// already. Returns whether it did: `false` if another CPU has put it into a queue
    /// meanwhile.
    #[must_use]
    pub(crate) fn insert(&mut self, at: Instant, thing: &Arc<T>) -> bool {
        let entered = thing.due().claim.enter(self.cpu);
        if entered {
            self.link(at, Arc::clone(thing));
        }
        entered
    }

    /// Links `thing`, which this queue has claimed already.
    fn link(&mut self, at: Instant, thing: Arc<T>) {
        self.serial += 1;
        let due = thing.due();
        due.at.store(at.0, Ordering::Relaxed);
        due.serial.store(self.serial, Ordering::Relaxed);
        self.tree.insert(thing);
    }

    /// Removes `thing` and returns it, if it is in this queue.
    pub(crate) fn remove(&mut self, thing: &T) -> Option<Arc<T>> {
        let due = thing.due();
        if !due.claim.is_in(self.cpu) {
            return None;
        }
        let taken = self.tree.find_mut(&due.key()).remove();
        due.claim.leave();
        taken
    }

    /// Removes the first entry, if it is due at `now` or earlier, and returns it.
    /// Before that it calls `again_fn` with the entry's instant and the entry. If
    /// `again_fn` returns an instant, the entry stays in the queue, due at that.
    pub(crate) fn pop(
        &mut self,
        now: Instant,
        again_fn: impl FnOnce(Instant, &T) -> Option<Instant>,
    ) -> Option<Arc<T>> {
        let at = self.next()?;
        if at > now {
            return None;
        }
        let thing = self.tree.front_mut().remove()?;
        match again_fn(at, &thing) {
            Some(again) => self.link(again, Arc::clone(&thing)),
            None => thing.due().claim.leave(),
        }
        Some(thing)
    }

    /// Returns the instant at which the first entry is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        Some(self.tree.front().get()?.due().key().at)
    }
}

/// The link by which an entry is in its queue.
pub(crate) type DueLink = RBTreeAtomicLink;
