//! A CPU that comes and goes in a lab, and is back at its end.

use crate::api::cpu::{self, CpuId, CpuMask};
use crate::api::hotplug;
use crate::lab_program::trouble::Trouble;

/// The CPUs that were online when a lab began. They are again when it is dropped
/// (`left-as-found` of [`lab_program`](crate::lab_program)).
pub(super) struct Cpus {
    before: CpuMask,
}

impl Cpus {
    /// Returns the CPUs that are online.
    pub(super) fn online() -> Cpus {
        Cpus {
            before: cpu::online_racy(),
        }
    }

    /// Returns the CPUs that were online.
    pub(super) fn before(&self) -> CpuMask {
        self.before
    }

    /// Brings `cpu` up, or takes it down, if it isn't.
    ///
    /// # Errors
    /// [`Trouble::Up`], [`Trouble::Down`].
    pub(super) fn have(&self, cpu: CpuId, online: bool) -> Result<(), Trouble> {
        if online {
            hotplug::cpu_up(cpu).map_err(Trouble::Up)
        } else {
            hotplug::cpu_down(cpu).map_err(Trouble::Down)
        }
    }
}

impl Drop for Cpus {
    fn drop(&mut self) {
        let gone = self.before.without(&cpu::online_racy());
        if let Err(error) = hotplug::cpus_up(&gone) {
            for (cpu, why) in error.failed() {
                log::warn!("lab: CPU{cpu} is not back: {why}");
            }
        }
    }
}
