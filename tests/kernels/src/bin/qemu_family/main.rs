//! The family of stops: what each member does, also before there are threads, stops of a CPU that
//! isn't online yet, stops that are given up, and all of them at once beside interrupts and CPUs that go and come.
//!
//! Boot arguments: `seconds=` is how long the storm takes (default 10, and 2 on fewer than four
//! CPUs), `aborts=` how many stops are given up (default 2000), `seed=` the random seed, which is printed.

//@ smp: 1 2 4 8 20
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

mod early;
#[path = "../../../../../examples/api/init_step.rs"]
mod example;
mod given_up;
mod inactive;
mod members;
mod storm;

stillpoint::entry!(main);

use kernel_support::ktap::Ktap;

fn main() {
    let mut ktap = Ktap::new();
    early::check(&mut ktap);
    members::check(&mut ktap);
    inactive::check(&mut ktap);
    given_up::check(&mut ktap);
    storm::check(&mut ktap);
    ktap.finish()
}
