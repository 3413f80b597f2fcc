//! The calls that other CPUs have sent to a CPU: a stack to which any CPU pushes, and
//! which its own CPU takes whole.
//!
//! ```text
//!   senders (any CPU)                   owner (its own CPU, IRQs masked)
//!   ─────────────────                   ────────────────────────────────
//!   node.next = head                    list = swap(head, none)   (Acquire)
//!   head: next → node   (Release)       turn the list round: first come first
//!   was it empty? ⇒ send the SGI        run each; a node is not touched after
//! ```
//!
//! # Invariants
//! - **empty-sends-sgi**: a sender that finds the queue empty sends the SGI. A sender
//!   that finds a node there may rely on the SGI of the sender before it. The exception
//!   is a sender that waits for its answer with IRQs masked: it may have interrupted
//!   the sender before it between the push and the SGI, so it always sends one.
//! - **one-queue-per-node**: a node is in one queue at most, from its push until its run
//!   function is called. Only that function decides when the node's memory may be
//!   freed: [`CallQueue::run`] reads what it needs of the node before it calls that.
//! - **takes-all**: the owner takes all nodes with one exchange, so no node can come
//!   back while another CPU works on it: there is no ABA.
//!
//! # Memory ordering
//! Each push is a Release, and every later one continues its release sequence
//! (they are read-modify-writes of one word): so the owner's Acquire has seen what
//! every sender wrote before its push.
//!
//! `tests/loom_calls.rs` model-checks this file.

use core::ptr::{self, NonNull};

use crate::cpu::CpuId;
use crate::sync::Running;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::{WaitPoint, const_unless_loom};

/// A function that runs a node on its target, and answers the call if its sender waits.
///
/// # Safety
/// The node is the first field of the type that the function was made for. The queue's
/// owner has taken the node out of the queue, and this is the function's one call for
/// it.
pub type RunFn = unsafe fn(NonNull<CallNode>, &Target<'_>);

/// The CPU on which a call runs, and what the run function needs of it.
#[derive(Debug)]
pub struct Target<'a> {
    /// The CPU that runs it.
    pub cpu: CpuId,
    /// The wait point at which senders that wait for an answer sleep.
    pub point: &'a WaitPoint,
    /// The name of the function that runs; set by the code that runs a node.
    pub running: &'a Running,
}

/// The head of every call, by which a queue links it.
#[derive(Debug)]
pub struct CallNode {
    /// The one pushed before. Written Relaxed, by the sender before its push and
    /// read by the owner after its exchange, which order it; then by the owner
    /// alone.
    next: AtomicPtr<CallNode>,
    run_fn: RunFn,
}

impl CallNode {
    /// Returns the head of a call that `run_fn` runs.
    pub fn new(run_fn: RunFn) -> CallNode {
        CallNode {
            next: AtomicPtr::new(ptr::null_mut()),
            run_fn,
        }
    }
}

/// In a model the end of a node is a write to it, so that loom finds a CPU that still
/// accesses it.
#[cfg(loom)]
impl Drop for CallNode {
    fn drop(&mut self) {
        self.next.with_mut(|_| ());
    }
}

/// One CPU's queue.
#[derive(Debug, Default)]
pub struct CallQueue {
    /// The one pushed last. Exchanged Release in [`CallQueue::push`], pairs with
    /// the Acquire in [`CallQueue::run`].
    head: AtomicPtr<CallNode>,
}

impl CallQueue {
    const_unless_loom! {
        /// Returns an empty queue.
        pub const fn new() -> Self {
            CallQueue {
                head: AtomicPtr::new(ptr::null_mut()),
            }
        }
    }

    /// Adds `node`. Returns whether the queue was empty before (empty-sends-sgi).
    ///
    /// # Context
    /// Any CPU, any context.
    ///
    /// # Safety
    /// The node stays where it is, and no other code accesses it, until its run
    /// function has been called and allows it to be freed. The function of the call may
    /// run on the queue's CPU.
    #[inline]
    #[must_use]
    pub unsafe fn push(&self, node: NonNull<CallNode>) -> bool {
        // SAFETY: it is the caller's alone until it is in the queue.
        let next = unsafe { &node.as_ref().next };
        // Relaxed: this load's value is not dereferenced here.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            next.store(head, Ordering::Relaxed); // Before the push, which orders it.
            let pushed = self.head.compare_exchange_weak(
                head,
                node.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            match pushed {
                Ok(_) => return head.is_null(),
                Err(newer) => head = newer,
            }
        }
    }

    /// Returns whether the queue is empty. A node that was pushed before an event with
    /// which this CPU has synchronised is seen.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // Relaxed: a caller that finds a node takes it with Acquire.
        self.head.load(Ordering::Relaxed).is_null()
    }

    /// Runs the queued calls in the order in which they came. Returns whether there was
    /// one.
    ///
    /// # Context
    /// `target.cpu`, whose queue this is, IRQs masked.
    #[inline]
    pub fn run(&self, target: &Target<'_>) -> bool {
        if self.is_empty() {
            return false;
        }
        // (takes-all)
        let mut left = in_order(self.head.swap(ptr::null_mut(), Ordering::Acquire));
        let any = left.is_some();
        while let Some(node) = left {
            // SAFETY: it is in the list, so its run function has not been called
            // and it is still there (the promise of `push`).
            let head = unsafe { node.as_ref() };
            left = NonNull::new(head.next.load(Ordering::Relaxed)); // (one-queue-per-node)
            let run_fn = head.run_fn;
            // SAFETY: taken out of the queue by its owner, and now of the list.
            unsafe { run_fn(node, target) };
        }
        any
    }
}

/// Reverses a list that begins with `last`, the node that was pushed last.
#[inline]
fn in_order(last: *mut CallNode) -> Option<NonNull<CallNode>> {
    let mut at = NonNull::new(last)?;
    let mut later = ptr::null_mut();
    loop {
        // SAFETY: a node of a list that the owner has taken: see `run`.
        let next = unsafe { &at.as_ref().next };
        let earlier = next.load(Ordering::Relaxed);
        next.store(later, Ordering::Relaxed);
        match NonNull::new(earlier) {
            None => return Some(at),
            Some(earlier) => {
                later = at.as_ptr();
                at = earlier;
            }
        }
    }
}
