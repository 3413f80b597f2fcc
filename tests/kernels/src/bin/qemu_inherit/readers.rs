//! The hotplug lock: an operation waits for a reader that others keep from its CPU.

use alloc::sync::Arc;

use stillpoint::api::sync::Mutex;
use stillpoint::api::{self, thread};
use stillpoint::cpu::CpuId;
use stillpoint::kernel::Hw;
use stillpoint::platform::Platform;

use crate::scene::{HELD, Middle, Stage, as_boss, compute, elsewhere, is_soon, ms, on, start};
use kernel_support::ktap::Ktap;
use kernel_support::machine::last_cpu;

pub(crate) fn readers(ktap: &mut Ktap) {
    let (one, chain) = as_boss(|| (one(), chain()));
    ktap.check(
        "an operation waits as long as the lock is held for reading",
        one,
    );
    ktap.check("so it does if the reader waits for a mutex", chain);
}

/// Returns whether a CPU goes down soon, and comes again.
fn goes_and_comes(what: &str) -> bool {
    let began = Hw::now();
    let went = api::cpu_down(last_cpu()).is_ok();
    let soon = is_soon(what, began);
    went && soon && api::cpu_up(last_cpu()).is_ok()
}

fn one() -> bool {
    let reads = Stage::new();
    let says = reads.clone();
    let low = start(on(CpuId::BOOT).name("low"), move || {
        let held = api::cpus_read_lock();
        says.say();
        compute(HELD, &Stage::new());
        drop(held);
    });
    reads.wait();
    let middle = Middle::start();
    let good = goes_and_comes("reader");
    middle.end();
    low.join();
    good
}

fn chain() -> bool {
    let mutex = Arc::new(Mutex::new(()));
    let (holds, reads) = (Stage::new(), Stage::new());
    let (its, says) = (Arc::clone(&mutex), holds.clone());
    let low = start(on(CpuId::BOOT).name("low"), move || {
        let held = its.lock();
        says.say();
        compute(HELD, &Stage::new());
        drop(held);
    });
    holds.wait();
    let says = reads.clone();
    let reader = start(on(elsewhere()).name("reader"), move || {
        let held = api::cpus_read_lock();
        says.say();
        drop(mutex.lock());
        drop(held);
    });
    reads.wait();
    thread::sleep(ms(1)); // It waits.
    let middle = Middle::start();
    let good = goes_and_comes("reader that waits");
    middle.end();
    low.join();
    reader.join();
    good
}
