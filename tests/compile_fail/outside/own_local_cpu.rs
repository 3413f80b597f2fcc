//! E0603 / ok: What a lock takes for the machine is the machine, not a type of the program.
#![no_std]
#![no_main]

use stillpoint::sync::{LocalCpu, SpinLock};

stillpoint::entry!(main);

fn main() {}

fn lock<E: LocalCpu>(lock: &SpinLock<u32, E>) -> u32 {
    *lock.lock()
}
