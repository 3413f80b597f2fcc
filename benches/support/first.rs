//! The first pass: what it takes to turn all CPUs on where no code has run on them before, and
//! what the same takes again. With the boot argument `maxcpus=1` the boot has left that to this.
//!
//! A floor would warm the machine up for what is measured behind it, so it has a boot of its own.

use alloc::format;
use alloc::vec::Vec;

use stillpoint::api;
use stillpoint::cpu::CpuMask;
use stillpoint::kernel::kernel;

use crate::support::floors::Floors;
use crate::support::hotplug::secondaries;
use crate::support::lines::print_line;
use crate::support::rounds::time;

/// How often what is warm is measured.
const AGAIN: usize = 9;

/// All CPUs up as one batch, and down.
pub(crate) fn walks() {
    let others = new_cpus();
    let walk = |_| {
        let up = time(|| api::hotplug::cpus_up(&others).expect("all secondaries come"));
        let down = time(|| api::hotplug::cpus_down(&others).expect("all secondaries leave"));
        (up, down)
    };
    let (ups, downs): (Vec<u64>, Vec<u64>) = (0..=AGAIN).map(walk).unzip();
    print("cpus_up", &ups);
    print("cpus_down", &downs);
}

/// All CPUs on, with nothing of the kernel behind it.
pub(crate) fn floors() {
    let others = new_cpus();
    let floors = Floors::new().expect("CPUs go off by PSCI, and the machine has a GICv3");
    let ons: Vec<u64> = (0..=AGAIN).map(|_| floors.measure_on(&others)).collect();
    print("floor.cpu_on_all", &ons);
}

fn new_cpus() -> CpuMask {
    let online = kernel().masks.online();
    assert!(online.count() == 1, "the boot has no maxcpus=1");
    secondaries()
}

/// Prints the first of `samples` by itself.
fn print(op: &str, samples: &[u64]) {
    let (first, again) = samples.split_at(1);
    print_line(&format!("{op}.first"), first.to_vec(), 0);
    print_line(&format!("{op}.again"), again.to_vec(), 1);
}
