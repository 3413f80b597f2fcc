//! Boot at EL1: all CPUs come up, by the same steps, each on the CPU that it
//! belongs to.
//!
//! BOARD: virt
//! SMP: 1 2 4 8 20
//! OUTPUT: ^.*PSCI .*[Hh][Vv][Cc]
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
    let mut ktap = ktap::Ktap::plan(boot::RESULTS);
    boot::check::<smccc::Hvc>(&mut ktap);
    ktap.finish()
}

#[cfg(not(target_os = "none"))]
fn main() {}
