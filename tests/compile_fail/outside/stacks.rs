//! E0603 / E0133: An exception saves its frame where these say.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    stillpoint::arch::aarch64::cpu_local::this_cpu().set_stacks(0..64, 0..64);
}
