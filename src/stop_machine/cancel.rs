//! A token by which one thread cancels the stop of another.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::fmt;

use crate::stop_machine::StopHost;
use crate::sync::SpinLock;

/// Why a stop is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its deadline has come.
    Deadline,
    /// Its token was cancelled.
    Cancel,
}

/// A stop that can be given up. It stays for as long as it is in a token.
pub(super) trait GiveUp: Sync {
    /// Gives the stop up, unless its CPUs have begun to mask IRQs.
    fn give_up(&self, why: Why);

    /// Reports a flush that takes long, if the stop is in it still.
    fn tell_late_flush(&self);
}

struct Inner {
    cancelled: bool,
    /// The stop that is under way with this token.
    stop: Option<&'static dyn GiveUp>,
}

/// Cancels a stop, from any context. A clone cancels the same one.
///
/// No thread runs on a CPU that has come to the stop. So what cancels it is the function of a timer,
/// another interrupt handler, or a thread of a CPU that has not come.
///
/// A token that was cancelled stays so: a later stop with it is given up at once.
pub struct CancelToken<P: StopHost> {
    /// The order of locks is in `docs/architecture.md`.
    inner: Arc<SpinLock<Inner, P>>,
}

impl<P: StopHost> CancelToken<P> {
    /// Returns a token that is not cancelled.
    ///
    /// # Context
    /// Any; allocates.
    pub fn new() -> Self {
        CancelToken {
            inner: Arc::new(SpinLock::new(Inner {
                cancelled: false,
                stop: None,
            })),
        }
    }

    /// Cancels the stop: it is given up, unless its CPUs have begun to mask IRQs. If its caller waits for
    /// another stop or an operation of hotplug to end, it is given up after that.
    ///
    /// # Context
    /// Any.
    pub fn cancel(&self) {
        let mut inner = self.inner.lock_irqsave();
        inner.cancelled = true;
        // Under the lock (`frame-outlives-giver-up` of `give_up`).
        if let Some(stop) = inner.stop {
            stop.give_up(Why::Cancel);
        }
    }

    /// Returns whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.inner.lock_irqsave().cancelled
    }

    /// Has a cancel give up `stop` from now on; returns false if it was cancelled before.
    ///
    /// # Context
    /// The stop mutex is held, so one stop at a time has the token.
    #[must_use]
    pub(super) fn begin(&self, stop: &'static dyn GiveUp) -> bool {
        let mut inner = self.inner.lock_irqsave();
        assert!(
            inner.stop.is_none(),
            "BUG: two stops have one cancel token at a time"
        );
        inner.stop = Some(stop);
        !inner.cancelled
    }

    /// Takes the stop out again: no cancel touches it any more.
    pub(super) fn end(&self) {
        self.inner.lock_irqsave().stop = None;
    }
}

impl<P: StopHost> Clone for CancelToken<P> {
    fn clone(&self) -> Self {
        CancelToken {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<P: StopHost> Default for CancelToken<P> {
    fn default() -> Self {
        CancelToken::new()
    }
}

impl<P: StopHost> fmt::Debug for CancelToken<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("is_cancelled", &self.is_cancelled())
            .finish()
    }
}
