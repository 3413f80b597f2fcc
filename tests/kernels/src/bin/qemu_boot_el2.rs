//! Boot at EL2, where PSCI is called by SMC: the checks after a boot at EL1 hold, and CPUs
//! that leave come back, which enters the kernel at EL2 again.

//@ smp: 1 4 8
//@ virt: on
//@ output: ^.*PSCI .*[Ss][Mm][Cc]

#![no_std]
#![no_main]

use kernel_support::ktap::Ktap;
use kernel_support::{boot, machine};

extern crate alloc;

stillpoint::entry!(main);

fn main() {
    use stillpoint::api;
    use stillpoint::cpu::CpuMask;
    use stillpoint::kernel::kernel;

    let mut ktap = Ktap::new();
    boot::check::<smccc::Smc>(&mut ktap);

    let possible = *kernel().masks.possible();
    let cpus = machine::secondaries();
    if cpus.is_empty() {
        ktap.inapplicable("CPUs leave by SMC", "one CPU");
        ktap.inapplicable("CPUs come back through EL2", "one CPU");
        ktap.finish();
    }
    let left = cpus.iter().all(|cpu| api::cpu_down(*cpu).is_ok());
    ktap.check(
        "CPUs leave by SMC",
        left && machine::masks_say(&CpuMask::first_n(1)),
    );
    let returned = cpus.iter().all(|cpu| api::cpu_up(*cpu).is_ok());
    ktap.check(
        "CPUs come back through EL2",
        returned && machine::masks_say(&possible) && machine::states_say(&possible),
    );
    ktap.finish()
}
