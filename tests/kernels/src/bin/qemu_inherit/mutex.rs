//! The mutex: one owner, a chain of owners, a wait that is given up.

use alloc::sync::Arc;

use stillpoint::api::sync::Mutex;
use stillpoint::api::thread;
use stillpoint::cpu::CpuId;
use stillpoint::kernel::Hw;
use stillpoint::platform::Platform;

use crate::scene::{
    Coming, HELD, Middle, Stage, as_boss, compute, elsewhere, fifo, is_soon, ms, on, start,
};
use kernel_support::ktap::Ktap;
use kernel_support::machine::last_cpu;

pub(crate) fn mutex(ktap: &mut Ktap) {
    let coming = Coming::start();
    let (one, chain) = as_boss(|| (one(), chain()));
    ktap.check("an urgent thread waits as long as the mutex is held", one);
    ktap.check("so it does behind two that wait for each other", chain);
    ktap.check("CPUs came and went meanwhile", coming.end());
}

/// An ordinary thread holds the mutex, one in the middle computes on its CPU, and an urgent
/// one wants the mutex.
fn one() -> bool {
    let mutex = Arc::new(Mutex::new(()));
    let holds = Stage::new();
    let (its, says) = (Arc::clone(&mutex), holds.clone());
    let low = start(on(CpuId::BOOT).name("low"), move || {
        let held = its.lock();
        says.say();
        compute(HELD, &Stage::new());
        drop(held);
    });
    holds.wait();
    let middle = Middle::start();
    let high = start(on(elsewhere()).name("high").class(fifo(60)), move || {
        let began = Hw::now();
        drop(mutex.lock());
        is_soon("one", began)
    });
    let soon = high.join();
    middle.end();
    low.join();
    soon
}

/// The thread that holds what the urgent one wants waits for another mutex, whose owner is
/// kept from its CPU.
fn chain() -> bool {
    let [first, second] = [Arc::new(Mutex::new(())), Arc::new(Mutex::new(()))];
    let (low_holds, next_holds) = (Stage::new(), Stage::new());
    let (its, says) = (Arc::clone(&first), low_holds.clone());
    let low = start(on(CpuId::BOOT).name("low"), move || {
        let held = its.lock();
        says.say();
        compute(HELD, &Stage::new());
        drop(held);
    });
    low_holds.wait();
    let (its, says) = (Arc::clone(&second), next_holds.clone());
    let next = start(on(elsewhere()).name("next"), move || {
        let held = its.lock();
        says.say();
        drop(first.lock());
        drop(held);
    });
    next_holds.wait();
    thread::sleep(ms(1)); // It waits.
    let middle = Middle::start();
    let high = start(on(CpuId::BOOT).name("high").class(fifo(60)), move || {
        let began = Hw::now();
        drop(second.lock());
        is_soon("chain", began)
    });
    let soon = high.join();
    middle.end();
    low.join();
    next.join();
    soon
}

/// The owner is kept from its CPU again when the urgent thread gives up.
pub(crate) fn limit(ktap: &mut Ktap) {
    let (in_time, runs, stands) = as_boss(|| {
        let mutex = Arc::new(Mutex::new(()));
        let (holds, steps) = (Stage::new(), Stage::new());
        let (its, says, its_steps) = (Arc::clone(&mutex), holds.clone(), steps.clone());
        let low = start(on(CpuId::BOOT).name("low"), move || {
            let held = its.lock();
            says.say();
            compute(ms(60), &its_steps);
            drop(held);
        });
        holds.wait();
        let middle = Middle::start();
        thread::sleep(ms(2));
        let before = steps.count();
        let high = start(on(last_cpu()).name("high").class(fifo(60)), move || {
            let began = Hw::now();
            let held = mutex.lock_until(Hw::deadline(ms(10)));
            held.is_none() && is_soon("given up", began)
        });
        let in_time = high.join();
        thread::sleep(ms(2));
        let after = steps.count();
        thread::sleep(ms(20));
        let later = steps.count();
        middle.end();
        low.join();
        (in_time, after > before, later == after)
    });
    ktap.check("a thread gives up at its limit", in_time);
    ktap.check("the owner ran while it waited", runs);
    ktap.check("and doesn't any more afterwards", stands);
}
