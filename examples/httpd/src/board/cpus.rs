//! Taking CPUs up and down.

use alloc::string::ToString;
use alloc::vec::Vec;

use httpd::{Change, Stays};
use stillpoint::api::cpu::{self, CpuMask};
use stillpoint::api::hotplug;
use stillpoint::api::sync::Mutex;

/// Held by what changes the CPUs online: of two that do, one is first.
static CHANGE: Mutex<()> = Mutex::new(());

/// Has the CPUs `wanted` online, and no others: first those come that are missing, in one batch,
/// then those go that are too many. A CPU that can't is named, and the others go on.
pub(super) fn set_online(wanted: &CpuMask) -> Change {
    let _alone = CHANGE.lock();
    let online = cpu::online_racy();
    let mut stays = Vec::new();
    if let Err(error) = hotplug::cpus_up(&wanted.without(&online)) {
        stays.extend(error.failed().iter().map(|(cpu, why)| Stays {
            cpu: *cpu,
            errno: why.errno().name(),
            why: why.to_string(),
        }));
    }
    if let Err(error) = hotplug::cpus_down(&online.without(wanted)) {
        stays.extend(error.failed().iter().map(|(cpu, why)| Stays {
            cpu: *cpu,
            errno: why.errno().name(),
            why: why.to_string(),
        }));
    }
    Change { stays }
}
