//! The running thread, as code that runs in it may hold it without a count.
//!
//! # Invariants
//! - **own-thread-only**: a thread's [`Itself`] never leaves it. The thread exists as long as
//!   its code runs, so a look at it finds it.

use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::sched::{SchedHost, Thread};

/// The running thread. It costs one load to find, and nothing to look at.
///
/// Not `Send`, nor `Sync`: it is about the thread that made it (own-thread-only).
#[derive(Debug)]
pub(super) struct Itself<P: SchedHost> {
    thread: NonNull<Thread<P>>,
    _own: PhantomData<*const Thread<P>>,
}

impl<P: SchedHost> Itself<P> {
    /// Returns the running thread.
    ///
    /// # Context
    /// Any. In an interrupt handler it is the interrupted thread.
    ///
    /// # Panics
    /// If this CPU runs no thread yet.
    #[inline]
    pub(super) fn running() -> Self {
        Self::try_running().expect("BUG: this CPU runs no thread yet")
    }

    /// Does as [`Itself::running`], but returns `None` if this CPU runs no thread yet.
    #[inline]
    pub(super) fn try_running() -> Option<Self> {
        let thread = core::ptr::with_exposed_provenance_mut(P::thread_word());
        Some(Itself {
            thread: NonNull::new(thread)?,
            _own: PhantomData,
        })
    }

    /// Returns the address of the thread.
    #[inline]
    pub(super) fn as_ptr(&self) -> *const Thread<P> {
        self.thread.as_ptr()
    }
}

impl<P: SchedHost> Deref for Itself<P> {
    type Target = Thread<P>;

    #[inline]
    fn deref(&self) -> &Thread<P> {
        // SAFETY: the word of a thread is the address of its `Thread`, and the run queue of
        // its CPU holds a count while it runs. It runs here (own-thread-only).
        unsafe { self.thread.as_ref() }
    }
}
