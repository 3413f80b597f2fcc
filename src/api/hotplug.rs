//! CPUs that come and go.
//!
//! ```ignore
//! hotplug::cpu_down(cpu)?;
//! hotplug::cpu_up(cpu)?;
//! ```

use crate::cpu::CpuId;
use crate::kernel::{Hw, kernel};
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

/// Brings CPU `cpu` online; does nothing if it is.
///
/// # Context
/// Thread, preemption on; takes the hotplug lock. In a service, a callback of hotplug or
/// under [`cpus_read_lock`] it is refused at once.
///
/// # Errors
/// [`CpuUpError`]. The other CPUs go on as before. `cpu` itself may be left half way, or
/// quarantined, which means that its end has not been seen: [`Left`] says which. It can be
/// brought up or taken down again from there.
pub fn cpu_up(cpu: CpuId) -> Result<(), CpuUpError> {
    kernel().hotplug.cpu_up(cpu)
}

/// Takes CPU `cpu` offline and has firmware turn it off; does nothing if it is.
///
/// # Context
/// Thread, preemption on; takes the hotplug lock. A thread that runs on `cpu` is moved. In
/// a service, a callback of hotplug or under [`cpus_read_lock`] it is refused at once.
///
/// # Errors
/// [`CpuDownError`]. The other CPUs go on as before. `cpu` itself may be left half way, or
/// offline and quarantined, as with [`cpu_up`].
pub fn cpu_down(cpu: CpuId) -> Result<(), CpuDownError> {
    kernel().hotplug.cpu_down(cpu)
}

/// Keeps CPUs from coming and going until it is dropped (Linux's name).
///
/// # Context
/// Thread, preemption on; not inside another one, not inside
/// [`migrate_disable`](crate::api::thread::migrate_disable), and neither in a callback of hotplug nor in
/// a service, which hotplug waits for.
///
/// # Panics
/// There, whether it would have to wait or not.
///
/// The end of a thread that has forgotten the guard ([`core::mem::forget`]): no CPU could
/// come or go any more.
#[cfg_attr(debug_assertions, track_caller)]
pub fn cpus_read_lock() -> CpusReadGuard {
    CpusReadGuard {
        _guard: kernel().hotplug.cpus_read_lock(),
    }
}

/// How many ticks of the counter bringing up the secondaries took at boot, with
/// what it printed meanwhile; `None` before it is over.
pub fn boot_bring_up_ticks() -> Option<u64> {
    crate::boot::bring_up_ticks()
}
