//! Which threads run where, and for how long, on all CPUs together: the most urgent at once,
//! equals for equal times, also if they sleep, none beside an idle CPU. In virtual time, with
//! CPUs that come and go.

//@ smp: 2 4 20
//@ icount: 1
//@ timeout: 240
//@ long: 2 20
//@ cases: urgent ladder balance odd pile drain weights classes bound
//@ cases: sleepers beside light stops
//@ case: balance|weights|sleepers
//@ long: 2 4 20
//@ case: bound
//@ long: 2 4 20
//@ output: warning: sched: RT throttling activated$

#![no_std]
#![no_main]

extern crate alloc;

mod balance;
mod bound;
mod classes;
mod drain;
mod ladder;
mod pile;
mod sharing;
mod stops;
mod team;
mod urgent;
mod weights;

stillpoint::entry!(main);

use kernel_support::case::case;
use kernel_support::ktap::Ktap;

fn main() {
    let mut ktap = Ktap::new();
    match case() {
        "urgent" => urgent::urgent(&mut ktap),
        "ladder" => ladder::ladder(&mut ktap),
        "balance" => balance::even(&mut ktap),
        "odd" => balance::odd(&mut ktap),
        "pile" => pile::pile(&mut ktap),
        "drain" => drain::drain(&mut ktap),
        "bound" => bound::bound(&mut ktap),
        "weights" => weights::weights(&mut ktap),
        "sleepers" => sharing::sleepers(&mut ktap),
        "beside" => sharing::beside(&mut ktap),
        "light" => sharing::light(&mut ktap),
        "stops" => stops::stops(&mut ktap),
        _ => classes::classes(&mut ktap),
    }
    ktap.finish()
}
