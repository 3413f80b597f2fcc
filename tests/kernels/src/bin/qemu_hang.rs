//! The report of a hang says where all CPUs are. As long as one CPU still runs, it asks the
//! others by the panic SGI; otherwise QEMU's monitor tells. The runner treats the line
//! `hangs now` as the time-out.

//@ smp: 4
//@ cases: running still masked caller
//@ hangs: ^hangs now$
//
// One CPU computes, one has masked its interrupts and so can't answer, and one is idle.
//@ case: running
//@ output: ^CPU 0, thread main:$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  .*print_whereabouts\+0x
//@ output: ^CPU 1, thread computes:$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::computes\+0x
//@ output: ^CPU 2, thread masked: does not answer
//@ output: ^CPU 3, thread idle/3:$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  stillpoint::sched::scheduler::.*idle
//@ output: ^all have answered: false$
// The question is asked in the still point, and the CPUs that wait there answer.
//@ case: still
//@ output: ^CPU 0, thread stopper/0:$
//@ output: ^CPU 1, thread stopper/1:$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  <?stillpoint::stop_machine::
//@ output: ^CPU 2, thread stopper/2:$
//@ output: ^CPU 3, thread stopper/3:$
//@ output: ^all have answered: true$
// A stop waits for CPU 1, and the CPU of its caller is in an interrupt without an end: another one
// tells.
//@ case: caller
//@ output: warning: stop_machine: CPUs 1 have not come yet to the stop that main has asked for:$
//@ output: warning:   CPU0 is in PREPARE$
//@ output: warning:   CPU1 has not come: holder \(preemption is off\)$
//@ output: warning:   CPU2 is in PREPARE$
//@ output: warning:   CPU3 is in PREPARE$
//
//@ case: .*
//@ output: ^hangs now$
//@ case: running
//@ output: ^where: CPU 0, interrupts on$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::hangs\+0x
//@ output: ^where: CPU 1, interrupts on$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::computes\+0x
//@ output: ^where: CPU 2, interrupts masked$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::masked\+0x
//@ output: ^where: CPU 3, interrupts
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  stillpoint::sched::scheduler::.*idle
//@ case: still
//@ output: ^where: CPU 0, interrupts masked$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::hangs\+0x
//@ output: ^where: CPU 3, interrupts masked$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  <?stillpoint::stop_machine::
// No CPU is left to ask the question.
//@ case: masked
//@ output: ^where: CPU 0, interrupts masked$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::hangs\+0x
//@ output: ^where: CPU 1, interrupts masked$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::masked\+0x
//@ output: ^where: CPU 3, interrupts masked$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::masked\+0x

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use core::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::kernel::{Hw, kernel, print_whereabouts};
use stillpoint::sync::atomic::{AtomicU32, Ordering};
use stillpoint::sync::{IrqGuard, LocalCpu, PreemptGuard};
use stillpoint::{api, println};

use kernel_support::case::case;
use kernel_support::machine::{spin_for, spin_until, stay_on_boot_cpu};

/// How many CPUs have come to their place.
static READY: AtomicU32 = AtomicU32::new(0);

#[inline(never)]
fn computes() {
    READY.fetch_add(1, Ordering::Relaxed);
    loop {
        Hw::relax();
    }
}

#[inline(never)]
fn masked() {
    let _masked = IrqGuard::<Hw>::new();
    READY.fetch_add(1, Ordering::Relaxed);
    loop {
        Hw::relax();
    }
}

#[inline(never)]
fn hangs() {
    println!("hangs now");
    loop {
        Hw::relax();
    }
}

/// Keeps a stop waiting, and the CPU of its caller, which has come, in an interrupt.
fn holds_up() {
    let _here = PreemptGuard::<Hw>::new();
    READY.fetch_add(1, Ordering::Relaxed);
    let waits = |cpu| kernel().stop_machine.sleepers_racy().contains(cpu);
    spin_until(|| waits(CpuId::BOOT));
    let called = api::call_on_nowait(CpuId::BOOT, computes);
    assert!(called.is_ok(), "the boot CPU is online");
    spin_for(Duration::from_secs(3));
    hangs();
}

fn on(cpu: usize, name: &str, body: fn()) {
    let cpu = CpuId::new(cpu).expect("a small number");
    assert!(api::spawn_on(cpu, name, body).is_ok(), "no thread");
}

fn wait_for(ready: u32) {
    while READY.load(Ordering::Relaxed) < ready {
        api::yield_now();
    }
}

fn main() {
    stay_on_boot_cpu();
    match case() {
        "running" => {
            on(1, "computes", computes);
            on(2, "masked", masked);
            wait_for(2);
            println!("all have answered: {}", print_whereabouts());
            hangs();
        }
        "still" => {
            let stopped = api::stop_machine(|| {
                println!("all have answered: {}", print_whereabouts());
                hangs();
            });
            assert!(stopped.is_ok(), "not even stopped");
        }
        "caller" => {
            Hw::set_patience(Duration::from_secs(1));
            on(1, "holder", holds_up);
            wait_for(1);
            let _stopped = api::stop_machine(|| ());
        }
        "masked" => {
            (1..4).for_each(|cpu| on(cpu, "masked", masked));
            wait_for(3);
            let _masked = IrqGuard::<Hw>::new();
            hangs();
        }
        _ => {}
    }
    panic!("no such case, or nothing has happened");
}
