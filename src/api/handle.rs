//! Handles of threads. They are opaque, so that no program depends on the scheduler's data.

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use crate::cpu::{CpuId, CpuMask};
use crate::kernel::entry::{Entered, enter};
use crate::kernel::{Hw, kernel};
use crate::platform::Platform;
use crate::sched::{self, AffinityError, Class, Nice};

/// A handle of a thread, for code that wakes or moves the thread. Clones are equal and stand
/// for the same thread. A handle may outlive the thread; then its methods have no effect.
///
/// ```no_run
#[doc = include_str!("../../examples/api/parking.rs")]
/// ```
#[derive(Clone)]
pub struct Thread(Arc<sched::Thread<Hw>>);

/// The identity of a thread, for use as a key. Two threads of which a [`Thread`] or a
/// [`JoinHandle`] exists have different ones. An identity may be used again when a thread has
/// ended and its handles have been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId(usize);

/// What a thread has used of the CPUs, as of a moment ago.
///
/// ```no_run
#[doc = include_str!("../../examples/api/usage.rs")]
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// For how long it has had a CPU. The time of the interrupts that came meanwhile is in
    /// it.
    pub run_time: Duration,
    /// How often it gave its CPU away by itself: it waited, parked or yielded. Linux calls
    /// these voluntary switches.
    pub waits: u64,
    /// How often it lost its CPU to another thread.
    pub preemptions: u64,
    /// How often it was moved to another CPU.
    pub migrations: u64,
}

impl Thread {
    pub(crate) fn new(thread: Arc<sched::Thread<Hw>>) -> Thread {
        Thread(thread)
    }

    /// Returns the thread's name.
    ///
    /// # Context
    /// Any.
    pub fn name(&self) -> &str {
        self.0.name().as_str()
    }

    /// Returns the thread's identity.
    ///
    /// # Context
    /// Any.
    pub fn id(&self) -> ThreadId {
        ThreadId(Arc::as_ptr(&self.0).addr())
    }

    /// Returns the thread's class.
    ///
    /// # Context
    /// Any.
    pub fn class(&self) -> Class {
        self.0.class()
    }

    /// Gives the thread another class, from now on. The running thread may do so for
    /// itself, and `main` is a thread like any other. If another thread is more urgent then,
    /// that one gets the CPU before this returns, unless the caller has a guard that forbids
    /// preemption.
    ///
    /// # Context
    /// Any.
    ///
    /// # Panics
    /// If `class` is the kernel's: [`Class::Stop`], [`Class::Idle`], or realtime above
    /// [`Priority::MAX`](crate::sched::Priority::MAX). If the thread has such a class. In an
    /// interrupt handler and in a still point [`current`](crate::api::thread::current) may be
    /// one of those threads.
    pub fn set_class(&self, class: Class) {
        let _in_kernel = enter();
        assert_is_for_programs(class);
        assert!(
            !self.0.class().is_kernels(),
            "BUG: the class of {} is the kernel's",
            self.name()
        );
        kernel().sched.set_class(&self.0, class);
    }

    /// Returns how nice the thread is.
    ///
    /// # Context
    /// Any.
    pub fn nice(&self) -> Nice {
        self.0.nice()
    }

    /// Sets how nice the thread is to other ordinary threads, from now on. Ordinary threads
    /// that want the same CPUs get time in the ratio of their weights: 1024 at niceness 0,
    /// and 1.25 times as much for each step down, as in Linux. A realtime thread keeps the
    /// niceness for the time when it is an ordinary one again.
    ///
    /// # Context
    /// Any.
    pub fn set_nice(&self, nice: Nice) {
        let _in_kernel = enter();
        kernel().sched.set_nice(&self.0, nice);
    }

    /// Returns what the thread has used of the CPUs up to now. It stays what it was when the
    /// thread has ended.
    ///
    /// # Context
    /// Any.
    pub fn usage(&self) -> Usage {
        let _in_kernel = enter();
        let usage = kernel().sched.usage(&self.0);
        Usage {
            run_time: Duration::from_nanos(Hw::frequency().ticks_to_ns(usage.ticks)),
            waits: usage.waits,
            preemptions: usage.preemptions,
            migrations: usage.migrations,
        }
    }

    /// Wakes the thread if it is in [`park`](crate::api::thread::park). Otherwise its next
    /// `park` returns at once.
    ///
    /// # Context
    /// Any.
    pub fn unpark(&self) {
        let _in_kernel = enter();
        kernel().sched.give_permit(&self.0);
    }

    /// Sets the CPUs on which the thread may run. If it is the running thread, it runs on one
    /// of them on return, unless it is pinned.
    ///
    /// ```no_run
    #[doc = include_str!("../../examples/api/pinned.rs")]
    /// ```
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// [`AffinityError`]; nothing has changed then.
    pub fn set_affinity(&self, cpus: &CpuMask) -> Result<(), AffinityError> {
        let _in_kernel = enter();
        kernel().sched.set_affinity(&self.0, cpus)
    }

    /// Returns the CPUs on which the thread may run.
    ///
    /// # Context
    /// Any.
    pub fn affinity(&self) -> CpuMask {
        self.0.affinity()
    }
}

#[cfg(feature = "internals")]
impl Thread {
    /// Returns the scheduler's record of the thread.
    pub fn inner(&self) -> &Arc<sched::Thread<Hw>> {
        &self.0
    }
}

impl PartialEq for Thread {
    fn eq(&self, other: &Thread) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Thread {}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// Panics unless threads of programs may have `class`.
pub(super) fn assert_is_for_programs(class: Class) {
    assert!(
        !class.is_kernels(),
        "BUG: a program's thread of class {class:?}"
    );
}

/// A handle that returns the value of a thread. If it is dropped, the thread runs on.
pub struct JoinHandle<T>(pub(super) sched::JoinHandle<T, Hw>);

impl<T> JoinHandle<T> {
    /// Waits until the thread has ended, and returns the value that its body returned.
    ///
    /// # Context
    /// Another thread, preemption on.
    ///
    /// # Panics
    /// If the running thread joins itself: it would wait for ever.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> T {
        let _in_kernel = enter();
        self.0.join()
    }

    /// Returns the thread.
    ///
    /// # Context
    /// Any.
    pub fn thread(&self) -> Thread {
        Thread(Arc::clone(self.0.thread()))
    }

    /// Returns whether the thread has ended: [`JoinHandle::join`] would not wait. What the
    /// thread did is visible to the caller then.
    ///
    /// # Context
    /// Any.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("thread", &self.thread())
            .finish_non_exhaustive()
    }
}

/// The running thread stays on its CPU while this exists.
#[must_use]
pub struct MigrateGuard {
    guard: Entered<sched::MigrateGuard<Hw>>,
}

impl MigrateGuard {
    pub(crate) fn new(guard: sched::MigrateGuard<Hw>) -> MigrateGuard {
        MigrateGuard {
            guard: Entered::new(guard),
        }
    }

    /// Returns the CPU on which the thread stays.
    ///
    /// # Context
    /// Any.
    pub fn cpu(&self) -> CpuId {
        self.guard.cpu()
    }
}
