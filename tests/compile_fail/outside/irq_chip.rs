//! E0603 / ok: The GIC is the kernel's: a CPU without it hears no still point.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    let cpu = stillpoint::api::cpu::CpuId::BOOT;
    stillpoint::kernel::kernel().irq_chip().teardown_cpu(cpu);
}
