//! E0603 / E0133: The guards of a thread count on its preempt count.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    stillpoint::arch::aarch64::thread_head::current().preempt_enable();
}
