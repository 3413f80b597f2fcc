//! The guard of a read-side section.

use crate::sync::{LocalCpu, PinnedCpu, PreemptGuard};

/// A read-side section. An object that was reachable when the section began, or later,
/// is not freed while the guard exists, if the code that frees it waits for a grace
/// period first.
///
/// Preemption is off meanwhile, so no function that waits may be called. Sections nest.
/// Not `Send`: it belongs to the thread that made it.
#[must_use]
#[derive(Debug)]
pub struct ReadGuard<E: LocalCpu> {
    _preempt: PreemptGuard<E>,
}

impl<E: LocalCpu> ReadGuard<E> {
    /// Begins a section, which lasts until the guard is dropped.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn new() -> Self {
        ReadGuard {
            _preempt: PreemptGuard::new(),
        }
    }
}

impl<E: LocalCpu> Default for ReadGuard<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: LocalCpu> PinnedCpu<E> for ReadGuard<E> {}
