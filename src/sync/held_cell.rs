//! A thread's [`HeldLocks`], where the thread and nobody else finds them.

use core::fmt;

use crate::sync::UnsafeCell;
use crate::sync::lockdep::HeldLocks;

/// What a thread holds, in what the running thread is known by.
pub struct HeldCell(UnsafeCell<HeldLocks>);

// SAFETY: only `with` looks inside, and its caller is the thread itself.
unsafe impl Sync for HeldCell {}

impl HeldCell {
    /// Nothing is held.
    pub const fn new() -> HeldCell {
        HeldCell(UnsafeCell::new(HeldLocks::new()))
    }

    /// Calls `use_fn` with what is held.
    ///
    /// # Safety
    /// The cell is that of the running thread, IRQs are masked, and this is not called
    /// from `use_fn`.
    pub unsafe fn with<R>(&self, use_fn: impl FnOnce(&mut HeldLocks) -> R) -> R {
        // SAFETY: the caller's promise: nobody else gets here meanwhile.
        use_fn(unsafe { &mut *self.0.get() })
    }
}

impl Default for HeldCell {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HeldCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldCell { .. }")
    }
}
