//! Bringing CPUs up and taking them down.
//!
//! ```ignore
//! hotplug::cpu_down(cpu)?;
//! hotplug::cpu_up(cpu)?;
//! ```

use core::time::Duration;

use crate::cpu::CpuId;
use crate::kernel::{Hw, kernel};
use crate::platform::Platform;
use crate::sched::lock;

pub use crate::hotplug::{
    ApRefusal, CpuDownError, CpuUpError, Left, Quarantine, StepError, SyncState,
};
pub use crate::sched::lock::WouldDeadlock;

/// No CPU comes or goes while this exists.
#[must_use]
pub struct CpusReadGuard {
    _guard: lock::CpusReadGuard<'static, Hw>,
}

/// Brings CPU `cpu` online; does nothing if it is online.
///
/// # Context
/// Thread, preemption on; takes the hotplug lock. Returns an error at once under
/// [`cpus_read_lock`].
///
/// # Errors
/// [`CpuUpError`]. The other CPUs go on as before. `cpu` itself may be left half way, or
/// quarantined, which means that its end has not been seen: [`Left`] says which. It can be
/// brought up or taken down again from there.
pub fn cpu_up(cpu: CpuId) -> Result<(), CpuUpError> {
    kernel().hotplug.cpu_up(cpu)
}

/// Takes CPU `cpu` offline and has firmware turn it off; does nothing if it is offline.
///
/// # Context
/// Thread, preemption on; takes the hotplug lock. A caller that runs on `cpu` is moved to
/// another CPU. Returns an error at once under [`cpus_read_lock`].
///
/// # Errors
/// [`CpuDownError`]. The other CPUs go on as before. `cpu` itself may be left half way, or
/// offline and quarantined, as with [`cpu_up`].
pub fn cpu_down(cpu: CpuId) -> Result<(), CpuDownError> {
    kernel().hotplug.cpu_down(cpu)
}

/// Keeps CPUs from coming and going until the returned guard is dropped (the name is
/// Linux's).
///
/// # Context
/// Thread, preemption on. The thread may not hold another of these guards or one of
/// [`migrate_disable`](crate::api::thread::migrate_disable).
///
/// # Panics
/// If it is called outside its context, even if it would not have to wait.
///
/// A thread that has forgotten the guard ([`core::mem::forget`]) panics at its end: no CPU
/// could come or go any more.
#[cfg_attr(debug_assertions, track_caller)]
pub fn cpus_read_lock() -> CpusReadGuard {
    CpusReadGuard {
        _guard: kernel().hotplug.cpus_read_lock(),
    }
}

/// Returns how long it took at boot to bring up the other CPUs, including what the kernel
/// printed meanwhile; `None` before that is done.
///
/// # Context
/// Any.
pub fn boot_bring_up_time() -> Option<Duration> {
    let ticks = crate::boot::bring_up_ticks()?;
    Some(Duration::from_nanos(Hw::frequency().ticks_to_ns(ticks)))
}
