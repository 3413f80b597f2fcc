//! E0603 / ok: A CPU goes off by the steps of the table.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    let cpu = stillpoint::api::cpu::CpuId::BOOT;
    <stillpoint::api::Hw as stillpoint::hotplug::HotplugHost>::cpu_off(cpu);
}
