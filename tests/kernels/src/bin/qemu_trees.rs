//! Trees with a habit that QEMU's own has not: each leads to the console that is
//! there, to firmware, and to the CPUs that may be started.
//!
//! SMP: 4
//! GIC: 3
//! VIRT: off
//! CASES: console-alias console-missing console-disabled console-unknown console-sbsa
//! CASES: psci-0.2 psci-old-numbers cpus-disabled
//! OUTPUT: Stillpoint .* on Stillpoint small virt: [34] CPUs, GICv3, PSCI
//!
//! CASE: console-alias
//! DTB: dts/console-alias.dts
//! CASE: console-missing
//! DTB: dts/console-missing.dts
//! CASE: console-disabled
//! DTB: dts/console-disabled.dts
//! CASE: console-unknown
//! DTB: dts/console-unknown.dts
//! CASE: console-sbsa
//! DTB: dts/console-sbsa.dts
//! CASE: psci-0.2
//! DTB: dts/psci-0.2.dts
//! CASE: psci-old-numbers
//! DTB: dts/psci-old-numbers.dts
//! CASE: cpus-disabled
//! DTB: dts/cpus-disabled.dts
#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(kernel_test::main);

mod kernel_test {
    use alloc::vec::Vec;

    use stillpoint::kernel::kernel;

    use kernel_support::case::case;
    use kernel_support::ktap::Ktap;
    use kernel_support::machine::{leave_and_return, masks_say, states_say};

    pub(crate) fn main() {
        let mut ktap = Ktap::new();
        let mpidrs: Vec<u64> = kernel().mpidrs.iter().map(|mpidr| mpidr.raw()).collect();
        let expected: &[u64] = match case() {
            // A disabled CPU is quiescent, and is started by its enable-method
            // (Devicetree Specification, 3.8.1); so Linux has it too.
            "cpus-disabled" => &[0, 1, 2],
            _ => &[0, 1, 2, 3],
        };
        ktap.equal("those CPUs are there that may be", &*mpidrs, expected);
        let possible = *kernel().masks.possible();
        ktap.check("all are up", masks_say(&possible) && states_say(&possible));
        let cycled = leave_and_return(|| true);
        ktap.check("they leave and come back", cycled && masks_say(&possible));
        ktap.finish()
    }
}
