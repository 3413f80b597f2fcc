//! The host shuts the machine down, and the machine ends in order; it knows the time of day.

//@ board: virt
//@ smp: 1 4
//@ cases: el1 el2
//@ plan: none
//@ output: ^the time is right$
//@ output: ^waiting$
//@ powerdown: ^waiting$
//@ output: The power key was pressed$
//@ output: The machine ends, with CPUs 0 online$
//@ case: el2
//@ virt: on

#![no_std]
#![no_main]

use core::time::Duration;

use stillpoint::api::{thread, time};
use stillpoint::println;

stillpoint::entry!(main);

/// 2026 began so many seconds after 1970.
const Y2026: u64 = 1_767_225_600;

fn main() {
    let before = time::unix_time().map(|time| time.as_secs());
    thread::sleep(Duration::from_millis(1100));
    let after = time::unix_time().map(|time| time.as_secs());
    if let (Some(before), Some(after)) = (before, after)
        && before >= Y2026
        && (1..10).contains(&(after - before))
    {
        println!("the time is right");
    }
    println!("waiting");
    thread::sleep(Duration::from_secs(30));
    stillpoint::api::exit(1)
}
