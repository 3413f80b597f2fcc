//! E0603 / ok: The timers of a CPU are adopted once it is off.
#![no_std]
#![no_main]

stillpoint::entry!(main);

fn main() {
    let cpu = stillpoint::api::cpu::CpuId::BOOT;
    stillpoint::kernel::kernel().sched.adopt_timers(cpu);
}
