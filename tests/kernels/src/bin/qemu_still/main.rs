//! What a still point excludes, and what it doesn't: for each kind of code that relies on it,
//! what a stop and a CPU that goes do to it. `docs/guarantees.md` has the table.

//@ smp: 1 2 4 8 20
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

mod hotplug;
mod modes;
mod stops;
mod writes;

stillpoint::entry!(main);

use kernel_support::ktap::Ktap;
use kernel_support::machine::stay_on_boot_cpu;

const ONE_CPU: &str = "one CPU";

fn main() {
    stay_on_boot_cpu();
    let mut ktap = Ktap::new();
    stops::check(&mut ktap);
    modes::flush(&mut ktap);
    modes::one_cpu(&mut ktap);
    writes::check(&mut ktap);
    hotplug::check(&mut ktap);
    ktap.finish()
}
