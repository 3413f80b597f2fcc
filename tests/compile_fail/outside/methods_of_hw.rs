//! E0599 / E0599: What `Hw` does for the kernel takes a trait that has no name here.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    let cpu = stillpoint::cpu::CpuId::BOOT;
    stillpoint::api::Hw::empty_heap_cache(cpu);
}
