//! E0433 / E0599: `Hw` has no name here, nor has the trait by which it serves the kernel.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    let cpu = stillpoint::api::cpu::CpuId::BOOT;
    stillpoint::api::Hw::empty_heap_cache(cpu);
}
