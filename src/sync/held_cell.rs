//! A thread's [`HeldLocks`], where only that thread finds them.

use core::fmt;

use crate::sync::UnsafeCell;
use crate::sync::lockdep::HeldLocks;

/// The locks that a thread holds, in the record of the running thread.
pub struct HeldCell(UnsafeCell<HeldLocks>);

// SAFETY: only `with` looks inside, and its caller is the thread itself.
unsafe impl Sync for HeldCell {}

impl HeldCell {
    /// Makes an empty cell: no lock is held.
    pub const fn new() -> HeldCell {
        HeldCell(UnsafeCell::new(HeldLocks::new()))
    }

    /// Calls `use_fn` with the locks that are held.
    ///
    /// # Safety
    /// The cell is that of the running thread, IRQs are masked, and this is not called
    /// from `use_fn`.
    pub unsafe fn with<R>(&self, use_fn: impl FnOnce(&mut HeldLocks) -> R) -> R {
        // SAFETY: the caller's promise: no other access begins meanwhile.
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
