//! E0603 / ok: The heap cache of a CPU that runs is that CPU's alone.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    let cpu = stillpoint::api::cpu::CpuId::BOOT;
    <stillpoint::api::Hw as stillpoint::hotplug::HotplugHost>::empty_heap_cache(cpu);
}
