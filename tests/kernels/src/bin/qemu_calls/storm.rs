//! Calls of random kinds between all CPUs, which come and go meanwhile.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::smp::call::CallError;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use stillpoint::{api, println};

use crate::cpus;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, secondaries};
use kernel_support::xorshift::Random;

/// How many calls all senders have sent, and how many have run.
#[derive(Default)]
struct Totals {
    sent: AtomicU32,
    ran: AtomicU32,
}

impl Totals {
    fn agree(&self) -> bool {
        let equal = || self.ran.load(Ordering::Relaxed) == self.sent.load(Ordering::Relaxed);
        let agree = eventually(equal);
        println!(
            "# {} sent, {} ran",
            self.sent.load(Ordering::Relaxed),
            self.ran.load(Ordering::Relaxed)
        );
        // No call runs a second time.
        api::sleep(Duration::from_millis(10));
        agree && equal()
    }
}

/// Makes a call of a random kind; returns whether its result is correct. A call that an offline
/// CPU refuses is not counted as sent.
fn call(random: &mut Random, totals: &Arc<Totals>) -> bool {
    let targets = kernel().masks.possible();
    let number = random.below(1 << 20);
    let cpu = CpuId::new(number / 8 % targets.count()).expect("a CPU's number");
    let canary = [number; 16];
    let ran = |_: CpuId| {
        assert!(canary == [number; 16], "BUG: a frame was gone");
        totals.ran.fetch_add(1, Ordering::Relaxed);
    };
    let sent = |calls: usize| {
        let calls = u32::try_from(calls).expect("few");
        totals.sent.fetch_add(calls, Ordering::Relaxed);
    };
    match number % 8 {
        0 => {
            let called = api::call_on_many(targets, ran);
            sent(called.count());
            called.contains(Hw::this_cpu())
        }
        1..=3 => {
            let there = Arc::clone(totals);
            let count = move || {
                there.ran.fetch_add(1, Ordering::Relaxed);
            };
            let called = api::call_on_nowait(cpu, count);
            sent(usize::from(called.is_ok()));
            matches!(called, Ok(()) | Err(CallError::Offline(_)))
        }
        _ => {
            let called = api::call_on(cpu, || {
                ran(cpu);
                Hw::this_cpu()
            });
            sent(usize::from(called.is_ok()));
            called == Ok(cpu) || called == Err(CallError::Offline(cpu))
        }
    }
}

pub(crate) fn storm(ktap: &mut Ktap) {
    let each = if cpus() > 4 { 100 } else { 1000 };
    let totals = Arc::new(Totals::default());
    let online = kernel().masks.online();
    let threads: Vec<_> = online
        .iter()
        .map(|cpu| {
            let totals = Arc::clone(&totals);
            let body = move || {
                let mut random = Random::new(cpu.index() as u64 + 1);
                (0..each).all(|_| call(&mut random, &totals))
            };
            api::spawn_on(cpu, "sender", body).expect("a sender is started")
        })
        .collect();
    let good = threads
        .into_iter()
        .map(|thread| thread.join())
        .filter(|good| *good);
    ktap.check(
        "a storm of all against all: every answer is right",
        good.count() == online.count(),
    );
    ktap.check("and each call has run once", totals.agree());
    let all_gone = eventually(|| Arc::strong_count(&totals) == 1);
    ktap.check("and is gone", all_gone);
}

/// The second half of the secondaries sends, or the boot CPU if that half is empty. The first
/// half comes and goes.
pub(crate) fn storm_of_hotplug(ktap: &mut Ktap) {
    let totals = Arc::new(Totals::default());
    let end = Arc::new(AtomicBool::new(false));
    let (go, stay): (Vec<CpuId>, Vec<CpuId>) = secondaries()
        .into_iter()
        .partition(|cpu| cpu.index() <= cpus() / 2);
    let stay = if stay.is_empty() {
        Vec::from([CpuId::BOOT])
    } else {
        stay
    };
    let threads: Vec<_> = stay
        .iter()
        .map(|cpu| {
            let (totals, end) = (Arc::clone(&totals), Arc::clone(&end));
            let mut random = Random::new(cpu.index() as u64 + 100);
            let body = move || {
                let mut good = true;
                while !end.load(Ordering::Relaxed) {
                    good &= call(&mut random, &totals);
                    api::yield_now();
                }
                good
            };
            api::spawn_on(*cpu, "sender", body).expect("a sender is started")
        })
        .collect();
    let rounds = if cpus() > 4 { 3 } else { 60 };
    let mut cycled = true;
    for _ in 0..rounds {
        for cpu in &go {
            cycled &= api::cpu_down(*cpu).is_ok();
        }
        for cpu in &go {
            cycled &= api::cpu_up(*cpu).is_ok();
        }
    }
    end.store(true, Ordering::Relaxed);
    let good = threads.into_iter().all(|thread| thread.join());
    ktap.check("CPUs come and go in a storm of calls", cycled && good);
    ktap.check(
        "and each call that wasn't refused has run once",
        totals.agree(),
    );
}
