//! A call that its sender waits for, in the sender's frame.
//!
//! # Invariants
//! - **target-until-answer**: from the push to the answer only the target accesses the
//!   function and its value; before and after that only the sender.
//! - **answers-last**: the answer is the target's last access to the call. Before it
//!   the target has read all that it needs to wake the sender.

use core::ptr::NonNull;

use crate::cpu::CpuId;
use crate::smp::call::{CallNode, Target};
use crate::sync::CallName;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{UnsafeCell, Wait, WaitPoint};

/// A function for one CPU, then its value.
#[repr(C)]
pub struct OneCall<F, R> {
    /// First: see `run`.
    node: CallNode,
    source: CpuId,
    content: UnsafeCell<Content<F, R>>,
    /// Stored Release in `run`, pairs with the Acquire in
    /// [`OneCall::is_answered`] (answers-last).
    answered: AtomicBool,
}

enum Content<F, R> {
    Call(F),
    Running,
    Value(R),
}

impl<F: FnOnce() -> R + Send, R: Send> OneCall<F, R> {
    /// Returns a call of `call_fn` by a thread of `source`.
    pub fn new<W: Wait>(source: CpuId, call_fn: F) -> Self {
        OneCall {
            node: CallNode::new(run::<W, F, R>),
            source,
            content: UnsafeCell::new(Content::Call(call_fn)),
            answered: AtomicBool::new(false),
        }
    }

    /// Returns the node that the caller pushes once. After that the call must stay
    /// until it is answered.
    #[inline]
    pub fn node(&self) -> NonNull<CallNode> {
        NonNull::from(self).cast()
    }

    /// Returns whether the function has run. If so, only the sender accesses the call
    /// any more.
    #[inline]
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    /// Returns the function's value.
    ///
    /// # Panics
    /// If the function has not run.
    #[inline]
    pub fn into_value(self) -> R {
        match self.content.into_inner() {
            Content::Value(value) => value,
            _ => panic!("BUG: a call was answered without having run"),
        }
    }
}

/// Runs the call and answers it.
///
/// # Safety
/// As for every run function; the node is a [`OneCall`]'s of these types.
unsafe fn run<W: Wait, F: FnOnce() -> R, R>(node: NonNull<CallNode>, target: &Target<'_>) {
    // SAFETY: `node` is its first field; the sender keeps it until the answer.
    let call = unsafe { node.cast::<OneCall<F, R>>().as_ref() };
    // SAFETY: the target's until the answer (target-until-answer).
    let content = unsafe { &mut *call.content.get() };
    if let Content::Call(call_fn) = core::mem::replace(content, Content::Running) {
        let name = CallName::of::<F>();
        *content = Content::Value(target.running.note(name, call_fn));
    }
    let source = call.source;
    call.answered.store(true, Ordering::Release); // (answers-last)
    wake_if_asleep::<W>(source, target.point);
}

/// Wakes the sender of a call that was answered just now.
#[inline]
pub(super) fn wake_if_asleep<W: Wait>(source: CpuId, point: &WaitPoint) {
    if point.sleeps_after_store(source.index()) {
        W::send_wake(crate::cpu::CpuMask::of(source).bits());
    }
}
