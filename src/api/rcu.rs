//! RCU: data that threads read without a lock while other threads replace it, and that is
//! freed when no thread reads it any more. The names are Linux's where Linux has them.
//!
//! [`RcuBox`] is such data. For other data, a writer makes it unreachable, and frees it after
//! [`synchronize`], or in a callback of [`call_rcu`].
//!
//! A section is a region with preemption off, or with IRQs masked: [`read`] is one, and so
//! is any hold of a spin lock.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/grace_periods.rs")]
//! ```

use alloc::boxed::Box;

use crate::kernel::entry::enter;
use crate::kernel::{Hw, kernel};
use crate::rcu;

pub use super::rcu_box::RcuBox;
pub use crate::rcu::GraceStats;

/// A read-side section lasts while this exists. Not `Send`.
#[must_use]
#[derive(Default)]
pub struct ReadGuard(rcu::ReadGuard<Hw>);

impl ReadGuard {
    /// Begins a section, which lasts until the guard is dropped.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn new() -> ReadGuard {
        ReadGuard(rcu::ReadGuard::new())
    }
}

/// Calls `read_fn` in a read-side section. Data that it reads isn't freed before it has
/// returned, if the code that frees the data first waits for a grace period.
///
/// # Context
/// Any; preemption is off in `read_fn`, so it may not wait. Nests.
#[inline]
pub fn read<R>(read_fn: impl FnOnce(&ReadGuard) -> R) -> R {
    read_fn(&ReadGuard::new())
}

/// Waits for a grace period: until every section that any CPU is in now has ended.
///
/// # Context
/// Thread, preemption on, not in a section. The caller may hold any lock that no section
/// takes, also those of hotplug.
///
/// # Panics
/// In a section.
pub fn synchronize() {
    let _in_kernel = enter();
    kernel().grace_periods.synchronize(|late| {
        log::warn!("rcu: CPUs {late} hold up a grace period");
    });
}

/// Has `call_fn` run once, in a thread of the kernel, after a grace period that begins after
/// this call. The thread is that of this CPU, and runs here unless the CPU goes down.
///
/// The thread is a normal one, unless the boot argument `rcutree.kthread_prio=` gives it a
/// realtime priority.
///
/// # Context
/// Any, also a section and an interrupt handler. Allocates. `call_fn` may wait, but holds up
/// the callbacks meanwhile that were queued on the same CPU.
///
/// If more than 10,000 callbacks wait on this CPU (`rcutree.qhimark=`), a caller that may
/// wait does so until half of them have run, but no longer than 10 ms. A caller that must
/// not be held up calls this in a section ([`read`]). Callers with preemption off or IRQs
/// masked, and callbacks, are never held up.
pub fn call_rcu(call_fn: impl FnOnce() + Send + 'static) {
    let _in_kernel = enter();
    kernel().grace_periods.call_rcu(call_fn);
}

/// A function for [`call_rcu`], with the memory that queueing it takes: for what has to be
/// freed when there may be no memory left.
#[must_use]
pub struct Callback(Box<dyn rcu::Node>);

impl Callback {
    /// Returns a callback that calls `call_fn`. Dropped without being queued, it never does.
    ///
    /// # Context
    /// Any; allocates.
    pub fn new(call_fn: impl FnOnce() + Send + 'static) -> Callback {
        Callback(rcu::node(call_fn))
    }

    /// Has the function run, as [`call_rcu`] does. Allocates nothing.
    ///
    /// # Context
    /// As for [`call_rcu`].
    pub fn queue(self) {
        let _in_kernel = enter();
        kernel().grace_periods.queue_callback(self.0);
    }
}

/// Waits until every function that was given to [`call_rcu`] before has run. It doesn't wait
/// for those that are given later.
///
/// # Context
/// Thread, preemption on; not in a callback. Waits as long as realtime threads keep a CPU
/// that has callbacks from their thread.
pub fn barrier() {
    let _in_kernel = enter();
    kernel().grace_periods.barrier();
}

/// Waits until each other thread has slept, parked, yielded or ended at least once, preempted
/// threads included. For freeing data that threads use without a section, such as code.
///
/// # Context
/// Thread, preemption on. Waits as long as any other thread computes without such a pause.
pub fn synchronize_tasks() {
    let _in_kernel = enter();
    kernel().grace_periods.synchronize_tasks();
}

/// Returns what grace periods have cost so far.
///
/// # Context
/// Any.
pub fn stats() -> GraceStats {
    let _in_kernel = enter();
    kernel().grace_periods.stats()
}
