//! A thread waits whose CPU goes down meanwhile.

use alloc::sync::Arc;

use stillpoint::api::sync::Mutex;
use stillpoint::api::thread::{self, Builder};
use stillpoint::api::{cpu_down, cpu_up};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;

use crate::scene::{Middle, Stage, as_boss, compute, fifo, is_soon, ms, on, start};
use kernel_support::ktap::Ktap;
use kernel_support::machine::last_cpu;

/// The thread whose CPU goes holds one mutex and waits for another. It is raised after its CPU
/// has gone, and lends on from wherever it is then.
pub(crate) fn off(ktap: &mut Ktap) {
    let (went, soon) = as_boss(|| {
        let [first, second] = [Arc::new(Mutex::new(())), Arc::new(Mutex::new(()))];
        let (low_holds, next_holds) = (Stage::new(), Stage::new());
        let (its, says) = (Arc::clone(&first), low_holds.clone());
        let low = start(on(CpuId::BOOT).name("low"), move || {
            let held = its.lock();
            says.say();
            compute(ms(8), &Stage::new());
            drop(held);
        });
        low_holds.wait();
        let (its, says) = (Arc::clone(&second), next_holds.clone());
        let next = start(on(last_cpu()).name("next"), move || {
            let held = its.lock();
            says.say();
            drop(first.lock());
            drop(held);
        });
        next_holds.wait();
        thread::sleep(ms(1)); // It waits.
        let anywhere: CpuMask = *kernel().masks.possible();
        let moved = next.thread().set_affinity(&anywhere).is_ok();
        let middle = Middle::start();
        let went = moved && cpu_down(last_cpu()).is_ok();
        let high = start(Builder::new().name("high").class(fifo(60)), move || {
            let began = Hw::now();
            drop(second.lock());
            is_soon("off", began)
        });
        let soon = high.join();
        middle.end();
        low.join();
        next.join();
        (went && cpu_up(last_cpu()).is_ok(), soon)
    });
    ktap.check("the CPU of a thread that waits goes and comes", went);
    ktap.check("the thread lends on", soon);
}
