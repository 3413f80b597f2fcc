//! The scheduler: preemption, priorities, CPUs without a tick, threads for idle CPUs. In virtual
//! time: how fairly equal threads share a CPU, and how soon an urgent thread runs.

//@ smp: 1 2 4 20
//@ timeout: 240
//@ cases: order time
//@ case: time
//@ icount: 1

#![no_std]
#![no_main]

extern crate alloc;

mod idle;
mod start;
mod turns;
mod urgency;
mod wakes;

stillpoint::entry!(main);

use kernel_support::case::case;
use kernel_support::ktap::Ktap;

fn main() {
    match case() {
        "time" => turns::time(),
        _ => order(),
    }
}

fn order() -> ! {
    let mut ktap = Ktap::new();
    urgency::preemption(&mut ktap);
    urgency::priorities(&mut ktap);
    idle::without_a_tick(&mut ktap);
    idle::idle_cpus(&mut ktap);
    wakes::permits(&mut ktap);
    urgency::scope_ends(&mut ktap);
    wakes::woken_together(&mut ktap);
    ktap.finish()
}
