use alloc::vec::Vec;

use stillpoint::api::cpu::CpuId;
use stillpoint::api::hotplug::{
    CpusReadGuard, WouldDeadlock, boot_bring_up_time, cpus_read_lock, cpus_read_lock_checked,
};
use stillpoint::println;

/// Divides `work` among the CPUs on which threads are placed. The guard shows that the caller holds
/// the lock: the CPUs stay the same until it is dropped.
fn shares(cpus: &CpusReadGuard, work: usize) -> Vec<(CpuId, usize)> {
    let active = cpus.active();
    assert!(active.is_subset_of(&cpus.online()));
    let share = work / active.count();
    active.iter().map(|cpu| (cpu, share)).collect()
}

/// Has `give_fn` give each CPU its share. This thread holds no other such guard.
pub(crate) fn divide(work: usize, give_fn: impl FnMut((CpuId, usize))) {
    let cpus = cpus_read_lock();
    shares(&cpus, work).into_iter().for_each(give_fn);
}

/// The same for a library, which is called anywhere: also by a callback of hotplug, in which a wait
/// for hotplug would never end.
pub(crate) fn divide_if_possible(work: usize, give_fn: impl FnMut((CpuId, usize))) -> bool {
    match cpus_read_lock_checked() {
        Ok(cpus) => {
            shares(&cpus, work).into_iter().for_each(give_fn);
            true
        }
        Err(WouldDeadlock::HoldsIt) => panic!("pass the guard on instead"),
        Err(why) => {
            println!("not in a thread that {why}");
            false
        }
    }
}

/// Says what the boot has brought.
pub(crate) fn report() {
    let cpus = cpus_read_lock();
    match boot_bring_up_time() {
        Some(time) => println!("CPUs {} came within {time:?}", cpus.online()),
        None => println!("CPUs {} are there, others still come", cpus.online()),
    }
}
