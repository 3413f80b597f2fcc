//! A CPU that panics in its first life, before its interrupt interface is up, touches no
//! register of the interface. It sends no SGI to the other CPUs, and the panic is printed all
//! the same. A GICv2 differs: its registers are in memory and can be used at any time.

//@ smp: 4
//@ gic: 3
//@ append: maxcpus=1
//@ status: 101
//@ output: ^online: 0$
//@ output: ^panicked at src/kernel/test_hooks\.rs:[0-9]+:[0-9]+$
//@ output: ^kernel panic on CPU 1, thread idle/1: panics before its interface is up, as a test wants it$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  stillpoint_secondary\+0x[0-9a-f]+$
//@ output: ^  CPUs 0 run on: this CPU can't send SGIs yet$

#![no_std]
#![no_main]

stillpoint::entry!(main);

use stillpoint::cpu::CpuId;
use stillpoint::kernel::{Hw, kernel};
use stillpoint::{api, println};

fn main() {
    println!("online: {}", kernel().masks.online());
    let cpu = CpuId::new(1).expect("a small number");
    Hw::panic_before_interface(cpu);
    let up = api::cpu_up(cpu);
    panic!("it has not panicked: {up:?}");
}
