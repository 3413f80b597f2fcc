//! What is to run after a grace period: a list for each CPU, and passes over them.
//!
//! ```text
//!   any CPU, any context              the thread `rcu`
//!   ────────────────────              ────────────────
//!   make a node                       a pass begins
//!   push it on this CPU's list        takes the list of every CPU that has one
//!   it was empty: wake the thread     a grace period
//!                                     runs them, each CPU's in order; the pass ends
//! ```
//! A list belongs to a CPU number, not to a running CPU: one that is off keeps what
//! was queued there, and the thread takes it as any other. So a CPU that goes has
//! nothing to hand over, and nothing is lost or runs out of order.
//!
//! # Invariants
//! - **waiting-if-queued**: a CPU's bit in `waiting` is set if and only if its list is
//!   not empty; both change under the list's lock.
//! - **no-heap-under-lock**: no memory is allocated or freed under a list's lock.
//! - **number-before-asking**: [`Passes::ask`] reads the number before it says that it
//!   asks: the pass that answers is one that it counts.
//!
//! `tests/loom_rcu.rs` model-checks this file.

use alloc::boxed::Box;

use crate::cpu::{CpuId, PerCpu};
use crate::rcu::sequence::{Need, Sequence, Turn};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{AtomicBits, LocalCpu, SpinLock};

/// What is behind a node in its list.
type Link = Option<Box<dyn Node>>;

/// A function that is to run once, with the link that queues it: one allocation.
pub trait Node: Send {
    /// What is behind it.
    fn link(&mut self) -> &mut Link;
    /// Calls the function. Its memory is given back before.
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

/// A node that will call `call_fn`. Allocates.
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
    /// Who has any (waiting-if-queued). Relaxed: who looks without the lock has been woken by who
    /// set it, or has to be.
    waiting: AtomicBits,
}

impl<E: LocalCpu> Queues<E> {
    /// Empty ones, for `cpus` CPUs.
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

    /// Queues `node` on `cpu`; returns whether whoever runs them is to be woken. Any
    /// context.
    #[must_use]
    pub fn push(&self, cpu: CpuId, mut node: Box<dyn Node>) -> bool {
        // The caller has allocated the node (no-heap-under-lock).
        let mut list = self.lists.get(cpu).lock_irqsave();
        list.queued += 1;
        *node.link() = list.newest.take();
        list.newest = Some(node);
        self.waiting.set(cpu.index(), Ordering::Relaxed)
    }

    /// Whether anything is queued, a moment ago.
    pub fn has_any(&self) -> bool {
        let waiting = self.waiting.snapshot(Ordering::Relaxed);
        waiting.iter().any(|word| *word != 0)
    }

    /// Takes all that is queued on `cpu`.
    pub fn take(&self, cpu: CpuId) -> Batch {
        // If the bit is clear nothing was queued there before a pass that began after
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

    /// How many have been queued, ever. Exact if nobody queues meanwhile.
    pub fn queued(&self) -> u64 {
        self.lists
            .iter()
            .map(|(_, list)| list.lock_irqsave().queued)
            .sum()
    }
}

/// What was queued on one CPU.
#[must_use]
pub struct Batch {
    newest: Link,
}

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// Runs them in the order in which they were queued; returns how many.
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

/// Passes over all lists, by the one thread that runs them.
#[derive(Debug)]
pub struct Passes {
    sequence: Sequence,
    /// Somebody needs a pass, though nothing may be queued. Set Release, taken
    /// Acquire (number-before-asking).
    asked: AtomicBool,
}

impl Passes {
    /// None has begun.
    pub fn new() -> Passes {
        Passes {
            sequence: Sequence::new(),
            asked: AtomicBool::new(false),
        }
    }

    /// Asks for a pass that begins after this. The caller wakes the thread.
    pub fn ask(&self) -> Need {
        let need = self.sequence.need();
        // A swap, because loom lets a store and an access that changes both win.
        self.asked.swap(true, Ordering::Release);
        need
    }

    /// Whether somebody asks for one.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// The thread begins a pass: what was queued before anybody asked is found by it.
    pub fn begin(&self) {
        self.asked.swap(false, Ordering::Acquire);
        let turn = self.sequence.try_begin(self.sequence.need());
        assert!(turn == Turn::Begun, "BUG: two threads run callbacks");
    }

    /// All that the pass has found has run.
    pub fn end(&self) {
        self.sequence.end();
    }

    /// Whether the pass that `need` speaks of is over.
    pub fn is_done(&self, need: Need) -> bool {
        self.sequence.is_done(need)
    }
}

impl Default for Passes {
    fn default() -> Self {
        Self::new()
    }
}
