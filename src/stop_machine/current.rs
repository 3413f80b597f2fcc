//! The work of the stop that holds the stop mutex, which each stopper has a node for.

use core::marker::PhantomData;
use core::ptr;

use crate::cpu::CpuId;
use crate::stop_machine::{StopHost, Work};
use crate::sync::atomic::{AtomicPtr, Ordering};

/// Where the stoppers find the work of the stop that holds the stop mutex.
pub(super) struct Current {
    /// Points to a reference in the frame of the stop's caller. Written before the nodes are
    /// queued and read by a stopper that has taken one, both Relaxed: the lock of the stopper's
    /// queue orders them. The end of a flush reads it too: the caller's CPU, which finishes when
    /// the caller sleeps, has seen the write, and the last CPU to finish sees what all have seen
    /// (`last-once` of `flush_word`).
    work: AtomicPtr<&'static dyn Work>,
}

impl Current {
    pub(super) fn new() -> Current {
        Current {
            work: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Lets the stoppers find `work` from now on.
    ///
    /// # Context
    /// The stop mutex is held, and no stopper's own node is queued or begun.
    ///
    /// # Safety
    /// What `work` refers to, and the reference itself, stay until each node that is queued
    /// after this was run to its end or taken back; if the stop begins with a flush, also until
    /// the end of that has called [`Work::flushed`], or never will.
    pub(super) unsafe fn set<'a>(&self, work: &'a &'a (dyn Work + 'a)) {
        let work = ptr::from_ref(work).cast_mut();
        self.work
            .store(work.cast::<&'static dyn Work>(), Ordering::Relaxed);
    }

    /// Returns the work.
    ///
    /// # Safety
    /// The caller is a stopper that has taken its own node and has not run it, or the end of the
    /// flush with which the stop begins: the caller of [`Current::set`] keeps the work for these.
    #[inline]
    pub(super) unsafe fn get(&self) -> &'static dyn Work {
        let work = self.work.load(Ordering::Relaxed);
        // SAFETY: it was set, and the caller of `set` keeps it.
        unsafe { *work }
    }
}

/// Each stopper's part in the stop that holds the stop mutex.
pub(super) struct CurrentStop<P>(PhantomData<fn() -> P>);

impl<P: StopHost> CurrentStop<P> {
    const WORK: &'static dyn Work = &CurrentStop::<P>(PhantomData);

    pub(super) fn work() -> &'static dyn Work {
        Self::WORK
    }
}

impl<P: StopHost> Work for CurrentStop<P> {
    #[inline]
    fn run(&self, cpu: CpuId) {
        // SAFETY: this runs because a stopper's own node was queued, which is done after `set`
        // alone. The caller of `set` keeps what it has set until this has run.
        let work = unsafe { P::stop_machine().current.get() };
        work.run(cpu);
    }
}
