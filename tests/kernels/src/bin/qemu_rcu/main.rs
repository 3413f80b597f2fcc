//! Grace periods: readers never see freed values, whatever CPUs come and go; every
//! callback runs once and in order; threads that wait together share; idle CPUs are not
//! woken, and computing CPUs delay no grace period.

//@ smp: 1 2 4 20
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

mod callbacks;
mod readers;
mod waits;

stillpoint::entry!(main);

use core::time::Duration;

use kernel_support::ktap::Ktap;

/// How long a thread that must wait is watched waiting.
const WATCHED: Duration = Duration::from_millis(20);

fn main() {
    let mut ktap = Ktap::new();
    callbacks::first_batches(&mut ktap);
    readers::readers(&mut ktap);
    callbacks::every_callback_runs(&mut ktap);
    callbacks::at_home(&mut ktap);
    callbacks::any_context(&mut ktap);
    callbacks::barriers(&mut ktap);
    waits::idle_cpus(&mut ktap);
    waits::computing(&mut ktap);
    callbacks::urgent(&mut ktap);
    callbacks::queues_itself(&mut ktap);
    waits::beginner_is_kept_away(&mut ktap);
    waits::sections_hold_up(&mut ktap);
    waits::shared(&mut ktap);
    waits::tasks(&mut ktap);
    ktap.finish()
}
