//! The choice of the CPUs to use among those in the device tree.

use alloc::vec::Vec;

use crate::arch::aarch64::cpu;
use crate::boot::early::{self, Early};
use crate::cpu::Mpidr;
use crate::dt::{CpuStatus, DeviceTree, EnableMethod};
use crate::kernel::CpuPower;

/// Returns the CPUs of the tree that may be started and can be, the boot CPU first, `limit` of
/// them at most. Logs every CPU that is left out, and how many lie beyond the limit.
pub(super) fn list_cpus(
    tree: &DeviceTree<'_>,
    power: &CpuPower,
    early: &Early,
    limit: usize,
) -> Vec<Mpidr> {
    let me = cpu::mpidr();
    let mut mpidrs = Vec::from([me]);
    let mut is_listed = false;
    let mut beyond = 0;
    for found in tree.cpus() {
        match found {
            Ok(cpu) if cpu.mpidr == me => is_listed = true,
            Ok(cpu) if !cpu.may_start() => log::info!(
                "CPU {} is left alone: {}",
                cpu.mpidr,
                match cpu.status {
                    CpuStatus::Failed => "it has failed",
                    CpuStatus::Quiescent =>
                        "it is disabled, and the tree does not say how it is started",
                    CpuStatus::Okay | CpuStatus::Other => "its status is unknown",
                }
            ),
            Ok(cpu) if mpidrs.contains(&cpu.mpidr) => {
                log::warn!("CPU {} is listed twice", cpu.mpidr);
            }
            Ok(cpu) if !power.can_start(&cpu) => log::warn!(
                "CPU {} stays off: {}",
                cpu.mpidr,
                match cpu.enable_method {
                    EnableMethod::SpinTable { release_addr }
                        if !early::is_release_word(tree, release_addr, &early.blob) =>
                        "its release word is in no memory that is reserved for it",
                    EnableMethod::SpinTable { .. } => "the parking pen is full",
                    EnableMethod::Psci | EnableMethod::Unknown => "nothing starts it",
                }
            ),
            Ok(_) if mpidrs.len() == limit => beyond += 1,
            Ok(_) if mpidrs.len() == crate::config::MAX_CPUS => {
                log::warn!(
                    "more than {} CPUs; the rest stays off",
                    crate::config::MAX_CPUS
                );
                break;
            }
            Ok(cpu) => mpidrs.push(cpu.mpidr),
            Err(error) => log::warn!("a CPU is left out: {error}"),
        }
    }
    if beyond > 0 {
        log::info!("CPUs left alone: {beyond}, as nr_cpus= or possible_cpus= is {limit}");
    }
    if !is_listed {
        log::warn!("CPU {me}, which boots, is not in the device tree: it is used all the same");
    }
    mpidrs
}
