//! Boot at EL2, where PSCI is called by SMC: all that is so after a boot at EL1,
//! and CPUs that leave come back, which enters at EL2 once more.
//!
//! SMP: 1 4 8
//! VIRT: on
//! OUTPUT: ^.*PSCI .*[Ss][Mm][Cc]
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
#[path = "support/boot.rs"]
mod boot;
#[cfg(target_os = "none")]
#[path = "support/ktap.rs"]
mod ktap;
#[cfg(target_os = "none")]
#[path = "support/machine.rs"]
mod machine;

#[cfg(target_os = "none")]
stillpoint::entry!(main);

#[cfg(target_os = "none")]
fn main() {
    use stillpoint::api;
    use stillpoint::cpu::CpuMask;
    use stillpoint::kernel::kernel;

    let mut ktap = ktap::Ktap::plan(boot::RESULTS + 2);
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

#[cfg(not(target_os = "none"))]
fn main() {}
