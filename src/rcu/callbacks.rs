//! Callbacks: functions that run after a grace period. A list for each CPU, and passes
//! over all lists.
//!
//! ```text
//!   any CPU, any context              the thread `rcu`
//!   ────────────────────              ────────────────
//!   make a node                       a pass begins
//!   push it on this CPU's list        takes the list of every CPU that has one
//!   it was empty: wake the thread     a grace period
//!                                     runs them, each CPU's in order; the pass ends
//! ```
//! A list belongs to a CPU number, not to a running CPU. The list of a CPU that is off
//! stays, and the thread takes it as any other. So a CPU that goes down has nothing to
//! hand over, and no callback is lost or runs out of order.
//!
//! # Invariants
//! - **waiting-if-queued**: a CPU's bit in `waiting` is set if and only if its list is
//!   not empty; both change under the list's lock.
//! - **no-heap-under-lock**: no memory is allocated or freed under a list's lock.
//! - **number-before-asking**: [`Passes::ask`] reads the number before it stores the
//!   request. So the pass that answers the request is one that the number counts.
//!
//! `tests/loom_rcu.rs` model-checks this file.

use alloc::boxed::Box;

use crate::cpu::{CpuId, PerCpu};
use crate::rcu::sequence::{Need, Sequence, Turn};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{AtomicBits, LocalCpu, SpinLock};

/// The node that follows in a list.
type Link = Option<Box<dyn Node>>;

/// A function that is to run once, with the link that queues it: one allocation.
pub trait Node: Send {
    /// Returns the link to the node that follows.
    fn link(&mut self) -> &mut Link;
    /// Frees the node's memory, then calls the function.
    fn run(self: Box<Self>);
}

struct Callback<F> {
    next: Link,
    call_fn: F,
}

impl<F: FnOnce() + Send> Node for Callback<F> {
    fn link(&mut self) -> &mut Link {
        &mut self.next
    }

    fn run(self: Box<Self>) {
        let Callback { call_fn, .. } = *self;
        call_fn();
    }
}

/// Returns a node that will call `call_fn`. Allocates.
pub fn node(call_fn: impl FnOnce() + Send + 'static) -> Box<dyn Node> {
    Box::new(Callback {
        next: None,
        call_fn,
    })
}

/// The callbacks of one CPU, the newest first.
struct List {
    newest: Link,
    queued: u64,
}

/// The callbacks of all CPUs.
pub struct Queues<E: LocalCpu> {
    lists: PerCpu<SpinLock<List, E>>,
    /// The CPUs whose list is not empty (waiting-if-queued). Relaxed: the thread that
    /// reads it without the lock has been woken by the CPU that set the bit, or will
    /// be.
    waiting: AtomicBits,
}

impl<E: LocalCpu> Queues<E> {
    /// Returns empty lists for `cpus` CPUs.
    pub fn new(cpus: usize) -> Self {
        Queues {
            lists: PerCpu::new(cpus, |_| {
                SpinLock::new(List {
                    newest: None,
                    queued: 0,
                })
            }),
            waiting: AtomicBits::new(),
        }
    }

    /// Queues `node` on `cpu`. Returns whether the caller must wake the thread that
    /// runs callbacks.
    ///
    /// # Context
    /// Any.
    #[must_use]
    pub fn push(&self, cpu: CpuId, mut node: Box<dyn Node>) -> bool {
        // The caller has allocated the node (no-heap-under-lock).
        let mut list = self.lists.get(cpu).lock_irqsave();
        list.queued += 1;
        *node.link() = list.newest.take();
        list.newest = Some(node);
        self.waiting.set(cpu.index(), Ordering::Relaxed)
    }

    /// Returns whether a callback was queued a moment ago.
    pub fn has_any(&self) -> bool {
        let waiting = self.waiting.snapshot(Ordering::Relaxed);
        waiting.iter().any(|word| *word != 0)
    }

    /// Removes all callbacks that are queued on `cpu` and returns them.
    pub fn take(&self, cpu: CpuId) -> Batch {
        // If the bit is clear, no callback was queued there before the pass began
        // (waiting-if-queued).
        if !self.waiting.get(cpu.index(), Ordering::Relaxed) {
            return Batch { newest: None };
        }
        let mut list = self.lists.get(cpu).lock_irqsave();
        self.waiting.clear(cpu.index(), Ordering::Relaxed);
        Batch {
            newest: list.newest.take(),
        }
    }

    /// Returns how many callbacks have been queued since the start. Exact if none is
    /// being queued.
    pub fn queued(&self) -> u64 {
        self.lists
            .iter()
            .map(|(_, list)| list.lock_irqsave().queued)
            .sum()
    }
}

/// The callbacks that were queued on one CPU.
#[must_use]
pub struct Batch {
    newest: Link,
}

impl Batch {
    /// Returns whether the batch is empty.
    pub fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// Runs the callbacks in the order in which they were queued. Returns how many.
    pub fn run(mut self) -> u64 {
        let mut oldest = None;
        while let Some(mut node) = self.newest {
            self.newest = node.link().take();
            *node.link() = oldest;
            oldest = Some(node);
        }
        let mut count = 0;
        while let Some(mut node) = oldest {
            oldest = node.link().take();
            node.run();
            count += 1;
        }
        count
    }
}

/// The passes over all lists that the one callback thread makes.
#[derive(Debug)]
pub struct Passes {
    sequence: Sequence,
    /// Whether a caller needs a pass, even if no callback is queued. Set Release, taken
    /// Acquire (number-before-asking).
    asked: AtomicBool,
}

impl Passes {
    /// Returns passes of which none has begun.
    pub fn new() -> Passes {
        Passes {
            sequence: Sequence::new(),
            asked: AtomicBool::new(false),
        }
    }

    /// Requests a pass that begins after this call. Returns what to wait for. The
    /// caller wakes the thread.
    pub fn ask(&self) -> Need {
        let need = self.sequence.need();
        // A swap, because loom lets a store and an access that changes both win.
        self.asked.swap(true, Ordering::Release);
        need
    }

    /// Returns whether a pass is requested.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Begins a pass, by the thread: it finds all callbacks that were queued before any
    /// request.
    pub fn begin(&self) {
        self.asked.swap(false, Ordering::Acquire);
        let turn = self.sequence.try_begin(self.sequence.need());
        assert!(turn == Turn::Begun, "BUG: two threads run callbacks");
    }

    /// Ends the pass, when all callbacks that it has found have run.
    pub fn end(&self) {
        self.sequence.end();
    }

    /// Returns whether the pass of `need` is over.
    pub fn is_done(&self, need: Need) -> bool {
        self.sequence.is_done(need)
    }
}

impl Default for Passes {
    fn default() -> Self {
        Self::new()
    }
}
