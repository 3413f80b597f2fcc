//! Device trees with properties that QEMU's own doesn't have. With each the kernel finds the
//! console, firmware, and the CPUs that may be started.

//@ smp: 4
//@ gic: 3
//@ virt: off
//@ cases: console-alias console-missing console-disabled console-unknown console-sbsa
//@ cases: psci-0.2 psci-old-numbers cpus-disabled
//@ output: Stillpoint .* on Stillpoint small virt: [34] CPUs, GICv3, PSCI
//
//@ case: console-alias
//@ dtb: dts/console-alias.dts
//@ case: console-missing
//@ dtb: dts/console-missing.dts
//@ case: console-disabled
//@ dtb: dts/console-disabled.dts
//@ case: console-unknown
//@ dtb: dts/console-unknown.dts
//@ case: console-sbsa
//@ dtb: dts/console-sbsa.dts
//@ case: psci-0.2
//@ dtb: dts/psci-0.2.dts
//@ case: psci-old-numbers
//@ dtb: dts/psci-old-numbers.dts
//@ case: cpus-disabled
//@ dtb: dts/cpus-disabled.dts

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::vec::Vec;

use stillpoint::kernel::kernel;

use kernel_support::case::case;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{leave_and_return, masks_say, states_say};

fn main() {
    let mut ktap = Ktap::new();
    let mpidrs: Vec<u64> = kernel().mpidrs.iter().map(|mpidr| mpidr.raw()).collect();
    let expected: &[u64] = match case() {
        // A disabled CPU is quiescent, and its enable-method starts it (Devicetree
        // Specification, "/cpus/cpu* Node Properties"). Linux starts it too.
        "cpus-disabled" => &[0, 1, 2],
        _ => &[0, 1, 2, 3],
    };
    ktap.equal("those CPUs are there that may be", &*mpidrs, expected);
    let possible = *kernel().masks.possible();
    ktap.check("all are up", masks_say(&possible) && states_say(&possible));
    // With only the boot CPU there is nothing to check.
    let cycled = leave_and_return(|| true);
    ktap.check("they leave and come back", cycled && masks_say(&possible));
    ktap.finish()
}
