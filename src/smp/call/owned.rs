//! A call that no sender waits for: it owns its function, and frees itself.

use alloc::boxed::Box;
use core::ptr::NonNull;

use crate::smp::call::{CallNode, Target};
use crate::sync::CallName;

/// A function for one CPU, on the heap.
#[repr(C)]
pub struct OwnedCall<F, A> {
    /// First: see `run`.
    node: CallNode,
    call_fn: F,
    around_fn: A,
}

impl<F: Send + 'static, A: FnOnce(F) + Send + 'static> OwnedCall<F, A> {
    /// Returns a call of `call_fn`, which the caller pushes once. On the target
    /// `around_fn` is called with `call_fn`, to call it. The call is freed when it
    /// runs.
    ///
    /// # Context
    /// Any that may allocate.
    pub fn new(call_fn: F, around_fn: A) -> Box<Self> {
        Box::new(OwnedCall {
            node: CallNode::new(run::<F, A>),
            call_fn,
            around_fn,
        })
    }

    /// Returns the node to push. From then on the queue owns the call.
    pub fn into_node(self: Box<Self>) -> NonNull<CallNode> {
        NonNull::from(Box::leak(self)).cast()
    }
}

/// Frees the call's memory, then runs its function.
///
/// # Safety
/// As for every run function; the node is an [`OwnedCall`]'s of this type.
unsafe fn run<F, A: FnOnce(F)>(node: NonNull<CallNode>, target: &Target<'_>) {
    let call = node.cast::<OwnedCall<F, A>>().as_ptr();
    let OwnedCall {
        call_fn, around_fn, ..
    } = {
        // SAFETY: `node` is its first field, and it was leaked to be pushed. This is
        // its one call, so no other code frees it.
        *unsafe { Box::from_raw(call) }
    };
    let name = CallName::of::<F>();
    target.running.note(name, || around_fn(call_fn));
}
