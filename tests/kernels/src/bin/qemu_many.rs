//! As many CPUs as the machine can have: all come at boot, all but one leave, and all come back;
//! in batches, and one by one.

//@ smp: 128 512
//@ timeout: 600

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use core::fmt::Debug;

use stillpoint::api;
use stillpoint::api::hotplug;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::kernel;
use stillpoint::println;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{masks_say, secondaries, states_say, stay_on_boot_cpu};
use kernel_support::memory::InUse;
use kernel_support::unharmed::same;

fn main() {
    stay_on_boot_cpu();
    let mut ktap = Ktap::new();
    let all = *kernel().masks.possible();
    let alone = CpuMask::of(CpuId::BOOT);
    ktap.check("all CPUs of the tree are up", is_so(&all));
    let others = all.without(&alone);
    let leave = || same("down", hotplug::cpus_down(&others), Ok(())) && is_so(&alone);
    let come = || same("up", hotplug::cpus_up(&others), Ok(())) && is_so(&all);
    ktap.check("all but one leave", leave());
    ktap.check("all come back", come());
    let before = InUse::settled();
    ktap.check("and again", leave() && come());
    let one_by_one = each(api::cpu_down) && is_so(&alone) && each(api::cpu_up);
    ktap.check("and again, one by one", one_by_one && is_so(&all));
    ktap.check("as much memory is in use as before", before.is_back());
    let answers = api::call_on_many(&all, |_| ());
    ktap.equal("each answers a call", answers, all);
    let stopped = api::stop_machine(|| all.count());
    ktap.equal("all meet in a still point", stopped, Ok(all.count()));
    ktap.finish()
}

fn is_so(online: &CpuMask) -> bool {
    masks_say(online) && states_say(online)
}

/// Does `walk_fn` for each secondary, one after another.
fn each<E: Debug>(walk_fn: impl Fn(CpuId) -> Result<(), E>) -> bool {
    secondaries().into_iter().all(|cpu| {
        let walked = walk_fn(cpu);
        if let Err(error) = &walked {
            println!("# {cpu:?}: {error:?}");
        }
        walked.is_ok()
    })
}
