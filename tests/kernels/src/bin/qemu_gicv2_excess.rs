//! A device tree with more CPUs than the GICv2 has interfaces: the CPUs
//! without an interface are left out, each with a line that names it. The others all work.

//@ smp: 4 8
//@ gic: 2
//@ dtb: dts/virt-gicv2-ten.dts
//@ output: warning: CPU 0x8 is left out: the GICv2 has [48] CPU interfaces$
//@ output: warning: CPU 0x9 is left out: the GICv2 has [48] CPU interfaces$
//@ output: (4 CPUs|8 CPUs), GICv2, PSCI
//@ output: Brought up (4 of 4|8 of 8) CPUs

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use stillpoint::api;
use stillpoint::cpu::CpuMask;
use stillpoint::dt::DeviceTree;
use stillpoint::kernel::kernel;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{leave_and_return, masks_say, states_say};

fn main() {
    let mut ktap = Ktap::new();
    let possible = *kernel().masks.possible();
    let listed = DeviceTree::new(kernel().device_tree).map(|tree| tree.cpus().count());
    ktap.equal("ten are in the tree", listed, Ok(10));
    ktap.check(
        "those with an interface are possible",
        [4, 8].contains(&possible.count()) && kernel().mpidrs.len() == possible.count(),
    );
    ktap.check(
        "all of them are up",
        masks_say(&possible) && states_say(&possible),
    );
    ktap.equal("they can be stopped", api::stop_machine(|| 7), Ok(7));
    let cycled = leave_and_return(|| masks_say(&CpuMask::first_n(1)));
    ktap.check("they leave and come back", cycled && masks_say(&possible));
    ktap.finish()
}
