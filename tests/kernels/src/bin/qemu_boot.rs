//! Boot at EL1: all CPUs come up by the same steps, and each step runs on the CPU on which
//! the table has it.

//@ board: virt
//@ smp: 1 2 4 8 20
//@ output: ^.*PSCI .*[Hh][Vv][Cc]

#![no_std]
#![no_main]

use kernel_support::boot;
use kernel_support::ktap::Ktap;

extern crate alloc;

stillpoint::entry!(main);

fn main() {
    let mut ktap = Ktap::new();
    boot::check::<smccc::Hvc>(&mut ktap);
    ktap.finish()
}
