//! CPUs: their numbers, which of them there are, functions that run on them, and
//! variables of which each has its own.
//!
//! The sets are snapshots: unless the caller holds
//! [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock), a CPU may have come or gone
//! before it looks at what it got.

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

/// Returns the CPUs that the machine has. As the machine's device tree lists all of its
/// CPUs and none is plugged in later, they are those of [`possible`] (Linux:
/// `cpu_present_mask`).
///
/// # Context
/// Any.
pub fn present() -> CpuMask {
    possible()
}

/// Returns the CPUs that are online: they take interrupts and calls (Linux:
/// `cpu_online_mask`). A snapshot; with more than 64 CPUs, one of each 64.
///
/// # Context
/// Any. Racy, unless the caller holds
/// [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock).
pub fn online() -> CpuMask {
    kernel().masks.online()
}

/// Returns the CPUs that threads are placed on (Linux: `cpu_active_mask`). A CPU on its
/// way out leaves this set before it leaves [`online`]. A snapshot, as that.
///
/// # Context
/// Any. Racy, as [`online`].
pub fn active() -> CpuMask {
    kernel().masks.active()
}

/// Returns the CPU that the caller runs on. A thread may be on another one a moment later,
/// unless it is kept there: by [`migrate_disable`](crate::api::thread::migrate_disable),
/// an affinity of one CPU, or a guard of [`api::sync`](crate::api::sync).
///
/// # Context
/// Any. Racy, with preemption on.
pub fn current() -> CpuId {
    Hw::this_cpu()
}

/// Runs `call_fn` on CPU `cpu`, in its interrupt handler with IRQs masked, and
/// returns its value.
///
/// # Context
/// A thread, or the function of a call that is waited for; IRQs on or off. No other
/// interrupt handler, a timer's function among them, and not inside a still point.
///
/// # Errors
/// [`CallError::Offline`]; `call_fn` has not run then.
///
/// # Panics
/// In such a handler or a still point, whether it would have to wait or not.
pub fn call_on<R: Send>(cpu: CpuId, call_fn: impl FnOnce() -> R + Send) -> Result<R, CallError> {
    kernel().calls.call_on(cpu, call_fn)
}

/// Has `call_fn` run on CPU `cpu` as [`call_on`] does, without waiting for that:
/// it runs once, even if the CPU goes offline meanwhile.
///
/// # Context
/// Any. What is called from the function of a still point for another CPU runs once the
/// machine goes on. `call_fn` may not wait for another CPU.
///
/// # Errors
/// [`CallError::Offline`]; `call_fn` will not run then.
pub fn call_on_nowait(
    cpu: CpuId,
    call_fn: impl FnOnce() + Send + 'static,
) -> Result<(), CallError> {
    kernel().calls.call_on_nowait(cpu, call_fn)
}

/// Runs `call_fn` on those of `cpus` that are online, all at the same time, and
/// returns which those were. This CPU is one if it is in `cpus`.
///
/// # Context
/// As [`call_on`].
///
/// # Panics
/// As [`call_on`].
pub fn call_on_many(cpus: &CpuMask, call_fn: impl Fn(CpuId) + Sync) -> CpuMask {
    kernel().calls.call_on_many(cpus, call_fn)
}

/// Runs `call_fn` on every online CPU, this one included, and returns which those
/// were.
///
/// # Context
/// As [`call_on`].
///
/// # Panics
/// As [`call_on`].
pub fn on_each_cpu(call_fn: impl Fn(CpuId) + Sync) -> CpuMask {
    call_on_many(&online(), call_fn)
}
