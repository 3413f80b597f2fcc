//! A thread that waits for a lock makes the thread that holds it as urgent: an urgent thread
//! waits as long as the lock is held, and not as long as threads in between compute. In
//! virtual time, with CPUs that come and go.
//!
//! The bound on realtime threads would let the holder run after 950 ms. No wait here may take
//! that long.

//@ smp: 1 2 4 20
//@ icount: 1
//@ timeout: 120
//@ cases: mutex limit off readers stops

#![no_std]
#![no_main]

extern crate alloc;

mod mutex;
mod off;
mod readers;
mod scene;
mod stops;

stillpoint::entry!(main);

use kernel_support::case::case;
use kernel_support::ktap::Ktap;
use kernel_support::machine::last_cpu;
use stillpoint::cpu::CpuId;

fn main() {
    let mut ktap = Ktap::new();
    match case() {
        "mutex" => mutex::mutex(&mut ktap),
        "limit" | "off" | "readers" if last_cpu() == CpuId::BOOT => Ktap::not_applicable("one CPU"),
        "limit" => mutex::limit(&mut ktap),
        "off" => off::off(&mut ktap),
        "readers" => readers::readers(&mut ktap),
        _ => stops::stops(&mut ktap),
    }
    ktap.finish()
}
