//! E0433 / ok: What has a CPU panic is for tests.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    let cpu = stillpoint::api::cpu::CpuId::BOOT;
    stillpoint::api::Hw::panic_at_entry(cpu);
}
