//! The panic SGI has no effect while no CPU has panicked. The CPU counts it, wherever it takes
//! it, and goes on.

//@ smp: 1 4

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::vec::Vec;

use stillpoint::api;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::kernel;
use stillpoint::platform::Sgi;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, secondaries, send_sgi, spin_until};

fn taken(cpu: CpuId) -> u64 {
    kernel().interrupts.sgis(cpu, Sgi::Panic.number())
}

/// Returns whether each of `cpus` takes a panic SGI, and still runs threads.
fn interrupts(cpus: &[CpuId]) -> bool {
    cpus.iter().all(|&cpu| {
        let before = taken(cpu);
        send_sgi(Sgi::Panic.number(), cpu);
        eventually(|| taken(cpu) == before + 1)
            && api::spawn_on(cpu, "lives", || true).is_ok_and(|thread| thread.join())
    })
}

/// Returns whether each of `others`, which wait in the still point for the boot CPU, takes a panic SGI there,
/// and leaves the still point.
fn ends_sleeps(others: &CpuMask) -> bool {
    let cpus: Vec<CpuId> = others.iter().collect();
    let before: Vec<u64> = cpus.iter().map(|&cpu| taken(cpu)).collect();
    let stopped = api::stop::Stop::new().on(CpuId::BOOT).run(|| {
        kernel().irq_chip().send_sgi(Sgi::Panic.number(), others);
        spin_until(|| {
            let mut counts = cpus.iter().zip(&before);
            counts.all(|(&cpu, before)| taken(cpu) == before + 1)
        })
    });
    stopped == Ok(true) && interrupts(&cpus)
}

fn main() {
    let mut ktap = Ktap::new();
    let all: Vec<CpuId> = kernel().masks.online().iter().collect();
    ktap.check("each CPU takes a panic SGI and goes on", interrupts(&all));
    let others = kernel().masks.online().without(&CpuMask::of(CpuId::BOOT));
    let name = "CPUs that sleep in the still point take one and go on";
    if secondaries().is_empty() {
        ktap.inapplicable(name, "one CPU");
    } else {
        ktap.check(name, ends_sleeps(&others));
    }
    let stopped = api::stop_machine(|| kernel().masks.online().count());
    ktap.equal("the machine stops as before", stopped, Ok(all.len()));
    ktap.finish();
}
