//! CPUs: their numbers, sets of them, functions that run on them, and variables of which
//! each CPU has its own.
//!
//! The sets whose names end in `racy` are snapshots: a CPU may come or go at any time, also
//! before the caller uses the set. The guard of
//! [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock) has sets that last.

use core::time::Duration;

use crate::api::sync::KeepsCpu;
use crate::kernel::entry::enter;
use crate::kernel::{Hw, kernel};
use crate::platform::Platform;

pub use crate::cpu::{CpuId, CpuMask};
pub use crate::kernel::PerCpuVar;
pub use crate::smp::call::CallError;

/// Returns the CPUs that may ever come online on this machine: those that its device tree
/// lists. The set is fixed (Linux: `cpu_possible_mask`).
///
/// # Context
/// Any.
pub fn possible() -> CpuMask {
    *kernel().masks.possible()
}

/// Returns the CPUs that the machine has and that can be brought up (Linux:
/// `cpu_present_mask`). They are those of [`possible`], but for a CPU of which firmware says that
/// it doesn't exist, and for one whose end was not seen
/// ([`Quarantine`](crate::api::hotplug::Quarantine)). Such a CPU comes back by
/// [`cpu_up`](crate::api::hotplug::cpu_up) or [`cpu_down`](crate::api::hotplug::cpu_down).
///
/// # Context
/// Thread; may ask firmware. Racy, unless the caller holds
/// [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock).
pub fn present() -> CpuMask {
    let _in_kernel = enter();
    kernel().hotplug.present()
}

/// Returns the CPUs that are online: they take interrupts and calls (Linux:
/// `cpu_online_mask`). The set is a snapshot; on a machine with more than 64 CPUs it is made
/// of a snapshot of each 64.
///
/// # Context
/// Any. Racy, unless the caller holds
/// [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock).
pub fn online_racy() -> CpuMask {
    let _in_kernel = enter();
    kernel().masks.online()
}

/// Returns the CPUs that threads are placed on (Linux: `cpu_active_mask`). A CPU on its
/// way out leaves this set before it leaves [`online_racy`]. The set is a snapshot, as that of
/// [`online_racy`].
///
/// # Context
/// Any. Racy, as for [`online_racy`].
pub fn active_racy() -> CpuMask {
    let _in_kernel = enter();
    kernel().masks.active()
}

/// Returns for how long threads, idle ones aside, have had CPU `cpu`, which may be offline now;
/// `None` if it has never run. Interrupts that came meanwhile are in it. Two of these, and the time
/// between, are the load of the CPU.
///
/// ```no_run
#[doc = include_str!("../../examples/api/load.rs")]
/// ```
///
/// # Context
/// Any.
pub fn run_time(cpu: CpuId) -> Option<Duration> {
    let _in_kernel = enter();
    let ticks = kernel().sched.busy_ticks_now(cpu)?;
    Some(Duration::from_nanos(Hw::frequency().ticks_to_ns(ticks)))
}

/// Returns the CPU that the caller runs on. A thread may move to another CPU at any time,
/// unless something keeps it there: [`migrate_disable`](crate::api::thread::migrate_disable),
/// an affinity of one CPU, or a guard of [`api::sync`](crate::api::sync).
///
/// # Context
/// Any. Racy, with preemption on.
pub fn current() -> CpuId {
    Hw::this_cpu()
}

impl<T: Sync + 'static> PerCpuVar<T> {
    /// Returns the copy of this CPU. `_here` keeps the caller on this CPU.
    ///
    /// # Context
    /// Any.
    ///
    /// # Panics
    /// As for [`PerCpuVar::on`].
    #[inline]
    pub fn this<'a>(&self, _here: &'a impl KeepsCpu) -> &'a T {
        self.on(current())
    }
}

/// Runs `call_fn` on CPU `cpu`, in its interrupt handler with IRQs masked, and
/// returns its value.
///
/// ```no_run
#[doc = include_str!("../../examples/api/calls.rs")]
/// ```
///
/// # Context
/// A thread, or the function of a call whose caller waits; IRQs on or off. Not in another
/// interrupt handler, such as a timer's function, and not inside a still point.
///
/// # Errors
/// [`CallError::Offline`]; `call_fn` has not run then.
///
/// # Panics
/// If it is called outside its context, even if it would not have to wait.
pub fn call_on<R: Send>(cpu: CpuId, call_fn: impl FnOnce() -> R + Send) -> Result<R, CallError> {
    let _in_kernel = enter();
    kernel().calls.call_on(cpu, call_fn)
}

/// Has `call_fn` run on CPU `cpu`, as [`call_on`] does, but doesn't wait for it. `call_fn`
/// runs exactly once, even if the CPU goes offline meanwhile.
///
/// # Context
/// Any; allocates, unless `cpu` is this CPU. `call_fn` may not wait for another CPU.
///
/// # Errors
/// [`CallError::Offline`]; `call_fn` will not run then.
pub fn call_on_nowait(
    cpu: CpuId,
    call_fn: impl FnOnce() + Send + 'static,
) -> Result<(), CallError> {
    let _in_kernel = enter();
    kernel().calls.call_on_nowait(cpu, call_fn)
}

/// Runs `call_fn` on all online CPUs of `cpus` at the same time, also on this CPU if it is
/// among them. Returns the CPUs on which it has run.
///
/// # Context
/// As for [`call_on`].
///
/// # Panics
/// As for [`call_on`].
pub fn call_on_many(cpus: &CpuMask, call_fn: impl Fn(CpuId) + Sync) -> CpuMask {
    let _in_kernel = enter();
    kernel().calls.call_on_many(cpus, call_fn)
}

/// Runs `call_fn` on every online CPU at the same time, also on this one. Returns the CPUs on
/// which it has run.
///
/// # Context
/// As for [`call_on`].
///
/// # Panics
/// As for [`call_on`].
pub fn on_each_cpu(call_fn: impl Fn(CpuId) + Sync) -> CpuMask {
    let _in_kernel = enter();
    call_on_many(&online_racy(), call_fn)
}
