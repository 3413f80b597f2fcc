//! Things that are due at an instant, in the order in which they come due.
//!
//! The tree hangs by links in the things themselves, so nothing is allocated, however
//! many wait. Two that are due at one instant come out in the order in which they
//! came in.
//!
//! # Invariants
//! - D1: a thing is in one queue at most. `queue` in its [`Due`] names the CPU whose
//!   queue that is, and changes under the lock of the queue that it names (or, when it
//!   names none, of the one that it comes into).

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use intrusive_collections::{Adapter, KeyAdapter, RBTree, RBTreeAtomicLink};

use crate::cpu::CpuId;
use crate::sched::links::{SleepLink, TimerLink};
use crate::sched::timer::TimerNode;
use crate::sched::{Host, Thread};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::time::Instant;

/// No queue.
const NONE: u32 = u32::MAX;

/// The place of a thing among those that are due: the instant, then who came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    at: Instant,
    serial: u64,
}

/// When a thing is due, and in whose queue it is. All Relaxed: changed under the lock
/// of that queue (D1).
#[derive(Debug)]
pub(crate) struct Due {
    at: AtomicU64,
    serial: AtomicU64,
    queue: AtomicU32,
}

impl Due {
    /// Of a thing that is in no queue.
    pub(crate) fn new() -> Due {
        Due {
            at: AtomicU64::new(0),
            serial: AtomicU64::new(0),
            queue: AtomicU32::new(NONE),
        }
    }

    fn key(&self) -> Key {
        Key {
            at: Instant(self.at.load(Ordering::Relaxed)),
            serial: self.serial.load(Ordering::Relaxed),
        }
    }

    /// The CPU in whose queue it is; a hint without that queue's lock.
    pub(crate) fn queue(&self) -> Option<CpuId> {
        CpuId::new(self.queue.load(Ordering::Relaxed) as usize)
    }
}

/// A thing that can be due.
pub(crate) trait HasDue {
    /// Its part for the queue.
    fn due(&self) -> &Due;
}

impl<'a, P: Host> KeyAdapter<'a> for SleepLink<P> {
    type Key = Key;
    fn get_key(&self, thread: &'a Thread<P>) -> Key {
        thread.due().key()
    }
}

impl<'a, P: Host> KeyAdapter<'a> for TimerLink<P> {
    type Key = Key;
    fn get_key(&self, timer: &'a TimerNode<P>) -> Key {
        timer.due().key()
    }
}

/// The things of one kind that wait on one CPU.
pub(crate) struct DueQueue<A: Adapter<LinkOps = intrusive_collections::rbtree::AtomicLinkOps>> {
    cpu: u32,
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
            cpu: u32::try_from(cpu.index()).expect("BUG: CPU numbers fit 32 bits"),
            tree: RBTree::new(adapter),
            serial: 0,
        }
    }

    /// Adds `thing`, due at `at`, behind those that are due then already. It must be
    /// in no queue.
    pub(crate) fn insert(&mut self, at: Instant, thing: Arc<T>) {
        self.serial += 1;
        let due = thing.due();
        due.at.store(at.0, Ordering::Relaxed);
        due.serial.store(self.serial, Ordering::Relaxed);
        due.queue.store(self.cpu, Ordering::Relaxed);
        self.tree.insert(thing);
    }

    /// Takes `thing` out, if it is in this queue.
    pub(crate) fn remove(&mut self, thing: &T) -> Option<Arc<T>> {
        let due = thing.due();
        if due.queue.load(Ordering::Relaxed) != self.cpu {
            return None;
        }
        due.queue.store(NONE, Ordering::Relaxed);
        self.tree.find_mut(&due.key()).remove()
    }

    /// Takes out what is due first, with its instant, if that is `now` or earlier.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, Arc<T>)> {
        let at = self.next()?;
        if at > now {
            return None;
        }
        let thing = self.tree.front_mut().remove()?;
        thing.due().queue.store(NONE, Ordering::Relaxed);
        Some((at, thing))
    }

    /// When the first is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        Some(self.tree.front().get()?.due().key().at)
    }
}

/// The link by which a thing hangs in its queue.
pub(crate) type DueLink = RBTreeAtomicLink;
