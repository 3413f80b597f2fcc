//! On a machine without firmware, CPUs park and come back ten thousand times.

//@ board: rpi4
//@ smp: 4
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{CpuHealth, CpuUpError, Parked, StepError};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::{api, println};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{masks_say, secondaries, states_say};
use kernel_support::memory::InUse;

const CYCLES: usize = 10_000;

fn main() {
    let mut ktap = Ktap::new();
    let all = *kernel().masks.possible();
    let secondaries = secondaries();
    let before: alloc::vec::Vec<_> = secondaries.iter().map(|cpu| cycle(*cpu)).collect();
    let refused = secondaries.iter().all(|cpu| refuses_once(*cpu));
    ktap.check(
        "a CPU that refuses itself parks, and comes when called again",
        refused,
    );
    let in_use = InUse::settled();
    let cycled = before.iter().all(|good| *good)
        && (0..CYCLES).all(|turn| cycle(secondaries[turn % secondaries.len()]));
    ktap.check(
        "ten thousand times a CPU parks, says so, and comes back",
        cycled,
    );
    let balanced = masks_say(&all) && states_say(&all);
    ktap.check("all are online, their counters balanced", balanced);
    ktap.check("as much memory in use as before", in_use.is_back());
    ktap.finish()
}

/// Returns whether a CPU that refuses itself comes up later. It refuses itself twice, because
/// it parks by another path after a refusal than after `cpu_down`, and both must lead back.
fn refuses_once(cpu: CpuId) -> bool {
    let down = api::cpu_down(cpu).is_ok();
    let refused = (0..2).all(|_| {
        Hw::refuse_at_entry(cpu);
        let up = api::cpu_up(cpu);
        println!("# CPU{cpu}: {up:?}");
        let refused = matches!(
            up,
            Err(CpuUpError::Step {
                error: StepError::RefusedItself(_),
                ..
            })
        );
        refused && matches!(kernel().hotplug.health(cpu), CpuHealth::Failed(_))
    });
    down && refused && api::cpu_up(cpu).is_ok()
}

fn cycle(cpu: CpuId) -> bool {
    let wanted = CpuHealth::Parked(Parked::NoFirmware);
    match api::cpu_down(cpu) {
        Ok(()) if kernel().hotplug.health(cpu) == wanted => {}
        Ok(()) => {
            println!("# CPU{cpu}: {:?}", kernel().hotplug.health(cpu));
            return false;
        }
        Err(error) => {
            println!("# CPU{cpu}: {error}");
            return false;
        }
    }
    match api::cpu_up(cpu) {
        Ok(()) => true,
        Err(error) => {
            println!("# CPU{cpu}: {error}");
            false
        }
    }
}
