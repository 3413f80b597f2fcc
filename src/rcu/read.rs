//! The read side: a token.

use crate::sync::{LocalCpu, PinnedCpu, PreemptGuard};

/// A read-side section: what was reachable when it began, or since, is not freed
/// while this exists, if whoever frees it waits for a grace period first.
///
/// Preemption is off meanwhile, so nothing that waits may be called. Sections nest. Not
/// `Send`: it speaks of the thread that made it.
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
