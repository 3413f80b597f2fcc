//! A call of many CPUs, which its sender waits for: one batch in the sender's frame,
//! and a node for each target that was made beforehand.
//!
//! # Invariants
//! - **one-batch-per-source**: the nodes of a source belong to the batch under way there,
//!   of which there is one at a time. From its push until the batch is over a node
//!   belongs to its target.
//! - **counts-off-last**: a target's last access to its node and to the batch is the
//!   decrement of the batch's count.

use alloc::boxed::Box;
use core::ptr::{self, NonNull};

use crate::cpu::{CpuId, CpuMask};
use crate::smp::call::one::wake_if_asleep;
use crate::smp::call::{CallNode, Target};
use crate::sync::CallName;
use crate::sync::Wait;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// The part of one call that its targets share, in the sender's frame.
pub struct ManyCall<'a> {
    call_fn: &'a (dyn Fn(CpuId) + Sync),
    name: &'static CallName,
    source: CpuId,
    /// Number of targets that have not run the function. Decremented Release in `run`,
    /// each decrement continuing the release sequence of those before; pairs with the
    /// Acquire in [`ManyCall::is_over`] (counts-off-last).
    left: AtomicUsize,
}

impl<'a> ManyCall<'a> {
    /// Returns a call of `call_fn` on `targets` CPUs, by a thread of `source`.
    pub fn new(source: CpuId, targets: usize, call_fn: &'a (impl Fn(CpuId) + Sync)) -> Self {
        ManyCall {
            call_fn,
            name: CallName::of_val(call_fn),
            source,
            left: AtomicUsize::new(targets),
        }
    }

    /// Returns whether all targets have run the function. If so, only the sender
    /// accesses the call and its nodes any more.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }
}

/// In a model the end of a batch is a write to it, so that loom finds a target that
/// still accesses it.
#[cfg(loom)]
impl Drop for ManyCall<'_> {
    fn drop(&mut self) {
        self.left.with_mut(|_| ());
    }
}

/// One source's node for one target.
#[repr(C)]
#[derive(Debug)]
struct ManyNode {
    /// First: see `run`.
    node: CallNode,
    /// The batch. Written Relaxed before the push, which orders it.
    batch: AtomicPtr<ManyCall<'static>>,
    /// Whether the target has still to run it. Relaxed: for diagnosis.
    waits: AtomicBool,
}

/// One source's nodes, by target.
#[derive(Debug)]
pub struct ManyNodes(Box<[ManyNode]>);

impl ManyNodes {
    /// Returns nodes for `cpus` targets.
    pub fn new<W: Wait>(cpus: usize) -> ManyNodes {
        let make = |_| ManyNode {
            node: CallNode::new(run::<W>),
            batch: AtomicPtr::new(ptr::null_mut()),
            waits: AtomicBool::new(false),
        };
        ManyNodes((0..cpus).map(make).collect())
    }

    /// Returns the node for `target`, prepared for `batch`: the caller pushes it to
    /// that CPU's queue. The call and its nodes must stay until the batch is over.
    ///
    /// # Panics
    /// If there is no node for that CPU.
    #[inline]
    pub fn ready(&self, target: CpuId, batch: &ManyCall<'_>) -> NonNull<CallNode> {
        let node = &self.0[target.index()];
        // (one-batch-per-source)
        let batch = ptr::from_ref(batch).cast_mut().cast();
        node.batch.store(batch, Ordering::Relaxed); // The push orders it.
        node.waits.store(true, Ordering::Relaxed); // For diagnosis.
        NonNull::from(node).cast()
    }

    /// Returns the targets that had not run the batch under way a moment ago, for
    /// diagnosis.
    pub fn missing_racy(&self) -> CpuMask {
        let waits = |at: &(usize, &ManyNode)| at.1.waits.load(Ordering::Relaxed);
        let waiting = self.0.iter().enumerate().filter(waits);
        waiting.filter_map(|(at, _)| CpuId::new(at)).collect()
    }
}

/// Runs the batch's function here, and decrements the batch's count.
///
/// # Safety
/// As for every run function; the node is a [`ManyNode`]'s.
unsafe fn run<W: Wait>(node: NonNull<CallNode>, target: &Target<'_>) {
    // SAFETY: `node` is its first field; nodes stay for ever.
    let node = unsafe { node.cast::<ManyNode>().as_ref() };
    // SAFETY: the pointer was set before the push. The sender keeps the batch until it
    // is over, which it is not before this target has decremented its count. The
    // lifetime is called `'static`, but the reference is used only until then.
    let batch = unsafe { &*node.batch.load(Ordering::Relaxed) };
    let call_fn = || (batch.call_fn)(target.cpu);
    target.running.note(batch.name, call_fn);
    let source = batch.source;
    node.waits.store(false, Ordering::Relaxed); // For diagnosis.
    if batch.left.fetch_sub(1, Ordering::Release) == 1 {
        wake_if_asleep::<W>(source, target.point); // Nothing of the batch (counts-off-last).
    }
}
