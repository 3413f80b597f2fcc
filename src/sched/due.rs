//! Things that are due at an instant, in the order in which they come due.
//!
//! The tree hangs by links in the things themselves, so nothing is allocated, however
//! many wait. Two that are due at one instant come out in the order in which they
//! came in.
//!
//! # Invariants
//! - **one-queue-a-thing**: a thing is in one queue at most. The [`Claim`] in its
//!   [`Due`] names the CPU whose queue that is, and changes under the lock of the queue
//!   that it names.
//! - **unclaimed-is-out**: a thing whose claim names no CPU is out of every queue, even
//!   for a reader without a lock: a thing that moves to another queue, or comes back
//!   into its own, doesn't pass through none.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use intrusive_collections::{Adapter, KeyAdapter, RBTree, RBTreeAtomicLink};

use crate::cpu::CpuId;
use crate::sched::links::{SleepLink, TimerLink};
use crate::sched::timer::TimerNode;
use crate::sched::{Claim, SchedHost, Thread};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::Instant;

/// The place of a thing among those that are due: the instant, then who came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    at: Instant,
    serial: u64,
}

/// When a thing is due, and in whose queue it is.
#[derive(Debug)]
pub(crate) struct Due {
    /// Relaxed, as `serial`: changed under the lock of its queue
    /// (one-queue-a-thing).
    at: AtomicU64,
    serial: AtomicU64,
    claim: Claim,
}

impl Due {
    /// Of a thing that is in no queue.
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

    /// The CPU in whose queue it is: without that queue's lock `None` is sure
    /// (unclaimed-is-out), all else a hint.
    pub(crate) fn queue(&self) -> Option<CpuId> {
        self.claim.queue()
    }

    /// In whose queue it is.
    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }
}

/// A thing that can be due.
pub(crate) trait HasDue {
    /// Its part for the queue.
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

/// The things of one kind that wait on one CPU.
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
    /// An empty queue of `cpu`.
    pub(crate) fn new(cpu: CpuId, adapter: A) -> Self {
        DueQueue {
            cpu,
            tree: RBTree::new(adapter),
            serial: 0,
        }
    }

    /// Adds `thing`, due at `at`, behind those that are due then already. Returns whether
    /// it did: not if somebody else has put it into a queue meanwhile.
    #[must_use]
    pub(crate) fn insert(&mut self, at: Instant, thing: &Arc<T>) -> bool {
        let entered = thing.due().claim.enter(self.cpu);
        if entered {
            self.link(at, Arc::clone(thing));
        }
        entered
    }

    /// Links `thing`, which is this queue's by its claim already.
    fn link(&mut self, at: Instant, thing: Arc<T>) {
        self.serial += 1;
        let due = thing.due();
        due.at.store(at.0, Ordering::Relaxed);
        due.serial.store(self.serial, Ordering::Relaxed);
        self.tree.insert(thing);
    }

    /// Takes `thing` out, if it is in this queue.
    pub(crate) fn remove(&mut self, thing: &T) -> Option<Arc<T>> {
        let due = thing.due();
        if !due.claim.is_in(self.cpu) {
            return None;
        }
        let taken = self.tree.find_mut(&due.key()).remove();
        due.claim.leave();
        taken
    }

    /// Takes out what is due first, if that is `now` or earlier. Before it is out,
    /// `again_fn` is given it and its instant, and says when it is due again, if it is:
    /// then it stays.
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

    /// Moves what is due first to `to`, under both locks; returns when it is due.
    pub(crate) fn move_first(&mut self, to: &mut Self) -> Option<Instant> {
        let at = self.next()?;
        let thing = self.tree.front_mut().remove()?;
        thing.due().claim.move_to(to.cpu);
        to.link(at, thing);
        Some(at)
    }

    /// When the first is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        Some(self.tree.front().get()?.due().key().at)
    }
}

/// The link by which a thing hangs in its queue.
pub(crate) type DueLink = RBTreeAtomicLink;
