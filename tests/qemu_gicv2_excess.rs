//! A device tree with more CPUs than the GICv2 has interfaces: those beyond are left
//! out, each with a line that names it, and the others are a whole machine.
//!
//! SMP: 4 8
//! GIC: 2
//! DTB: dts/virt-gicv2-ten.dts
//! OUTPUT: warning: CPU 0x8 is left out: the GICv2 has [48] CPU interfaces$
//! OUTPUT: warning: CPU 0x9 is left out: the GICv2 has [48] CPU interfaces$
//! OUTPUT: (4 CPUs|8 CPUs), GICv2, PSCI
//! OUTPUT: Brought up (4 of 4|8 of 8) CPUs
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
#[path = "support/ktap.rs"]
mod ktap;
#[cfg(target_os = "none")]
#[path = "support/machine.rs"]
mod machine;

#[cfg(target_os = "none")]
stillpoint::entry!(kernel_test::main);

#[cfg(target_os = "none")]
mod kernel_test {
    use stillpoint::api;
    use stillpoint::cpu::CpuMask;
    use stillpoint::dt::DeviceTree;
    use stillpoint::kernel::kernel;

    use crate::ktap::Ktap;
    use crate::machine::{leave_and_return, masks_say, states_say};

    pub(crate) fn main() {
        let mut ktap = Ktap::plan(5);
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
}
