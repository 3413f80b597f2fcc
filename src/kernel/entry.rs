//! Where the kernel begins for a program: each public function says that it has been
//! entered, so that a thread which is preempted inside is told from one that runs the
//! application's own code (`in_app` of the scheduler).
//!
//! `tests/host_entries.rs` checks that no function forgets it.

use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

use crate::kernel::Hw;
use crate::sched::InKernel;

/// Says that the running thread is inside the kernel until the returned guard is dropped.
///
/// # Context
/// Any; the first statement of a public function.
#[inline]
pub(crate) fn enter() -> InKernel<Hw> {
    InKernel::enter()
}

/// What the kernel gave to a program, and whose drop is a function of the kernel's like any
/// other.
#[derive(Debug)]
pub(crate) struct Entered<T>(ManuallyDrop<T>);

impl<T> Entered<T> {
    pub(crate) fn new(value: T) -> Entered<T> {
        Entered(ManuallyDrop::new(value))
    }

    /// Returns the value.
    pub(crate) fn into_inner(self) -> T {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped, so this is the only use of the value.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<T> Deref for Entered<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Entered<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Drop for Entered<T> {
    #[inline]
    fn drop(&mut self) {
        let _in_kernel = enter();
        // SAFETY: it is dropped once, here.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}
