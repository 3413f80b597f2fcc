//! E0603 / ok: A CPU is online when its steps have made it so.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    let masks = &stillpoint::kernel::kernel().masks;
    masks.set_online(stillpoint::api::cpu::CpuId::BOOT);
    masks.clear_online(stillpoint::api::cpu::CpuId::BOOT);
}
