//! Cross calls. A function runs once on the CPU that was named, and its value comes back.
//! Whatever the CPUs do meanwhile, each call is executed or refused.

//@ smp: 1 2 4 20
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

mod storm;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api;
use stillpoint::cpu::{CpuId, CpuMask, PerCpu};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::{Platform, Sgi};
use stillpoint::smp::call::CallError;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use stillpoint::sync::{IrqGuard, LocalCpu, PreemptGuard};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{
    eventually, last_cpu, secondaries, spin_for, spin_until, stay_on_boot_cpu,
};

const ONE_CPU: &str = "one CPU";

fn main() {
    stay_on_boot_cpu();
    let mut ktap = Ktap::new();
    own_cpu(&mut ktap);
    if cpus() == 1 {
        for _ in 0..19 {
            ktap.inapplicable("calls of other CPUs", ONE_CPU);
        }
    } else {
        values_come_back(&mut ktap);
        many(&mut ktap);
        writes(&mut ktap);
        offline(&mut ktap);
        sleeping_sender(&mut ktap);
        both_masked(&mut ktap);
        nested(&mut ktap);
        before_a_stop(&mut ktap);
        guard_keeps_target(&mut ktap);
        storm::storm(&mut ktap);
        storm::storm_of_hotplug(&mut ktap);
    }
    ktap.finish()
}

fn cpus() -> usize {
    kernel().masks.possible().count()
}

fn others() -> CpuMask {
    kernel().masks.online().without(&CpuMask::of(CpuId::BOOT))
}

/// Returns the CPU on which the caller runs, and whether its IRQs are on.
fn place() -> (CpuId, bool) {
    (Hw::this_cpu(), Hw::irqs_enabled())
}

fn own_cpu(ktap: &mut Ktap) {
    ktap.equal(
        "a call of the caller's own CPU runs there, IRQs masked",
        api::call_on(CpuId::BOOT, place),
        Ok((CpuId::BOOT, false)),
    );
    let ran = Arc::new(AtomicU32::new(0));
    let there = Arc::clone(&ran);
    let count = move || {
        there.fetch_add(1, Ordering::Relaxed);
    };
    let called = api::call_on_nowait(CpuId::BOOT, count);
    ktap.check(
        "one that isn't waited for has run on return, and is gone",
        called.is_ok() && ran.load(Ordering::Relaxed) == 1 && Arc::strong_count(&ran) == 1,
    );
    let absent = CpuId::new(stillpoint::config::MAX_CPUS - 1).expect("a CPU number");
    ktap.equal(
        "a CPU that isn't possible is offline",
        api::call_on(absent, || ()),
        Err(CallError::Offline(absent)),
    );
}

fn values_come_back(ktap: &mut Ktap) {
    let mut good = true;
    for cpu in secondaries() {
        let borrowed = [cpu.index(); 8];
        let mut written = 0;
        let value = api::call_on(cpu, || {
            written = borrowed.iter().sum();
            (place(), &borrowed)
        });
        good &= value == Ok(((cpu, false), &borrowed)) && written == 8 * cpu.index();
    }
    ktap.check(
        "a function runs on the CPU that was asked for, IRQs masked, and may borrow",
        good,
    );
    let ran = Arc::new(AtomicU32::new(0));
    let mut called = 0;
    for cpu in secondaries() {
        let there = Arc::clone(&ran);
        let count = move || {
            let right = place() == (cpu, false);
            there.fetch_add(u32::from(right), Ordering::Relaxed);
        };
        called += u32::from(api::call_on_nowait(cpu, count).is_ok());
    }
    let all = eventually(|| ran.load(Ordering::Relaxed) as usize == secondaries().len());
    ktap.check(
        "one that isn't waited for runs, once, and is gone",
        all && called as usize == secondaries().len()
            && eventually(|| Arc::strong_count(&ran) == 1),
    );
}

fn many(ktap: &mut Ktap) {
    let runs = PerCpu::new(cpus(), |_| AtomicU32::new(0));
    let good = AtomicBool::new(true);
    let note = |cpu: CpuId| {
        runs.get(cpu).fetch_add(1, Ordering::Relaxed);
        if place() != (cpu, false) {
            good.store(false, Ordering::Relaxed);
        }
    };
    let called = api::on_each_cpu(note);
    let once = runs
        .iter()
        .all(|(_, runs)| runs.load(Ordering::Relaxed) == 1);
    ktap.check(
        "on_each_cpu runs once everywhere, here too",
        called == kernel().masks.online() && once && good.load(Ordering::Relaxed),
    );
    let odd: CpuMask = others().iter().filter(|cpu| cpu.index() % 2 == 1).collect();
    let called = api::call_on_many(&odd, note);
    let right = runs
        .iter()
        .all(|(cpu, runs)| runs.load(Ordering::Relaxed) == 1 + u32::from(odd.contains(cpu)));
    ktap.check(
        "call_on_many runs on the CPUs of its mask, and no others",
        called == odd && right && good.load(Ordering::Relaxed),
    );
}

fn writes(ktap: &mut Ktap) {
    let number = Sgi::Call.number();
    let before = kernel().sgi_writes(number);
    let called = api::call_on_many(&others(), |_| ());
    ktap.equal(
        "a call of all others is one SGI register write",
        (called, kernel().sgi_writes(number) - before),
        (others(), 1),
    );
}

fn offline(ktap: &mut Ktap) {
    let last = last_cpu();
    let down = api::cpu_down(last);
    assert!(down.is_ok(), "{down:?}");
    let ran = Arc::new(AtomicBool::new(false));
    let there = Arc::clone(&ran);
    let refused = [
        api::call_on(last, || ran.store(true, Ordering::Relaxed)),
        api::call_on_nowait(last, move || there.store(true, Ordering::Relaxed)),
    ];
    let online = kernel().masks.online();
    let called = api::call_on_many(kernel().masks.possible(), |cpu| {
        if cpu == last {
            ran.store(true, Ordering::Relaxed);
        }
    });
    let up = api::cpu_up(last);
    assert!(up.is_ok(), "{up:?}");
    ktap.check(
        "a call of a CPU that is offline is refused, and is never run",
        refused == [Err(CallError::Offline(last)); 2]
            && !ran.load(Ordering::Relaxed)
            && Arc::strong_count(&ran) == 1,
    );
    ktap.equal("call_on_many leaves it out, and says so", called, online);
    ktap.equal(
        "when it is back it is called again",
        api::call_on(last, place),
        Ok((last, false)),
    );
}

/// Starts a thread on the last CPU that keeps IRQs masked until the returned flag is set, and
/// for `time` longer. Returns once the IRQs are masked.
fn hold_last_cpu(time: Duration) -> (api::JoinHandle<()>, Arc<AtomicBool>) {
    let holds = Arc::new(AtomicBool::new(false));
    let let_go = Arc::new(AtomicBool::new(false));
    let (inside, told) = (Arc::clone(&holds), Arc::clone(&let_go));
    let holder = api::spawn_on(last_cpu(), "holder", move || {
        let _masked = IrqGuard::<Hw>::new();
        inside.store(true, Ordering::Relaxed);
        assert!(spin_until(|| told.load(Ordering::Relaxed)), "held for ever");
        spin_for(time);
    });
    let holder = holder.expect("a holder is started");
    assert!(spin_until(|| holds.load(Ordering::Relaxed)), "no holder");
    (holder, let_go)
}

fn sleeping_sender(ktap: &mut Ktap) {
    let mut good = true;
    for _ in 0..10 {
        let (holder, let_go) = hold_last_cpu(Duration::from_millis(3));
        let_go.store(true, Ordering::Relaxed);
        good &= api::call_on(last_cpu(), place) == Ok((last_cpu(), false));
        holder.join();
    }
    ktap.check("a sender that waits for long is woken", good);
}

fn both_masked(ktap: &mut Ktap) {
    const EACH: u32 = 200;
    let ready = Arc::new(AtomicU32::new(0));
    let ran = Arc::new(AtomicU32::new(0));
    let pair = [CpuId::BOOT, last_cpu()];
    let threads: Vec<_> = [(pair[0], pair[1]), (pair[1], pair[0])]
        .into_iter()
        .map(|(me, other)| {
            let (ready, ran) = (Arc::clone(&ready), Arc::clone(&ran));
            let body = move || {
                ready.fetch_add(1, Ordering::Relaxed);
                let both = eventually(|| ready.load(Ordering::Relaxed) == 2);
                assert!(both, "a sender doesn't start");
                for _ in 0..EACH {
                    let _masked = IrqGuard::<Hw>::new();
                    let called = api::call_on(other, || ran.fetch_add(1, Ordering::Relaxed));
                    assert!(called.is_ok(), "{called:?}");
                }
            };
            api::spawn_on(me, "sender", body).expect("a sender is started")
        })
        .collect();
    for thread in threads {
        thread.join();
    }
    ktap.equal(
        "two CPUs call each other with IRQs masked",
        ran.load(Ordering::Relaxed),
        2 * EACH,
    );
}

fn nested(ktap: &mut Ktap) {
    let last = last_cpu();
    let there_and_back = api::call_on(last, || api::call_on(CpuId::BOOT, place));
    ktap.equal(
        "a function that is waited for may call, its sender too",
        there_and_back,
        Ok(Ok((CpuId::BOOT, false))),
    );
    let runs = AtomicU32::new(0);
    let count = |_: CpuId| {
        runs.fetch_add(1, Ordering::Relaxed);
    };
    let all = kernel().masks.online();
    let inner = AtomicU32::new(0);
    let called = api::call_on_many(&CpuMask::of(last), |_| {
        // The outer call of many is under way, and its nodes are in use.
        let back = api::call_on(CpuId::BOOT, || api::call_on_many(&all, count));
        inner.fetch_add(u32::from(back == Ok(all)), Ordering::Relaxed);
    });
    ktap.check(
        "a call of many inside a call of many reaches all",
        called == CpuMask::of(last)
            && inner.load(Ordering::Relaxed) == 1
            && runs.load(Ordering::Relaxed) as usize == all.count(),
    );
}

/// A thread whose CPU's priority mask holds the call SGI back stops the machine, so that only
/// the stop can run the call that was queued.
fn before_a_stop(ktap: &mut Ktap) {
    let closed = Arc::new(AtomicBool::new(false));
    let queued = Arc::new(AtomicBool::new(false));
    let ran = Arc::new(AtomicBool::new(false));
    let (is_closed, was_queued) = (Arc::clone(&closed), Arc::clone(&queued));
    let seen = Arc::clone(&ran);
    let stopper = api::spawn_on(last_cpu(), "caller", move || {
        Hw::set_priority_mask_closed(true);
        is_closed.store(true, Ordering::Relaxed);
        assert!(
            spin_until(|| was_queued.load(Ordering::Relaxed)),
            "never called"
        );
        let before = seen.load(Ordering::Relaxed);
        let stopped = api::stop_machine(|| seen.load(Ordering::Relaxed));
        Hw::set_priority_mask_closed(false);
        (before, stopped)
    });
    let stopper = stopper.expect("a caller is started");
    assert!(
        spin_until(|| closed.load(Ordering::Relaxed)),
        "never closed"
    );
    let there = Arc::clone(&ran);
    let called = api::call_on_nowait(last_cpu(), move || there.store(true, Ordering::Relaxed));
    queued.store(true, Ordering::Relaxed);
    ktap.equal(
        "a call that was queued before a stop has run before fn",
        (called, stopper.join()),
        (Ok(()), (false, Ok(true))),
    );
}

/// If a CPU was online in a section with preemption off, it answers calls until the section's
/// end, even while another thread takes it down.
fn guard_keeps_target(ktap: &mut Ktap) {
    let name = "with preemption off a CPU that was online answers, though it is to leave";
    let target = CpuId::from_index(1);
    if cpus() < 3 {
        ktap.inapplicable(name, "fewer than three CPUs");
        return;
    }
    let inside = Arc::new(AtomicBool::new(false));
    let is_inside = Arc::clone(&inside);
    let sender = api::spawn_on(last_cpu(), "sender", move || {
        let here = PreemptGuard::<Hw>::new();
        let first = api::call_on(target, place);
        is_inside.store(true, Ordering::Relaxed);
        // The target's stopper runs, so the target is in PREPARE, or soon will be.
        let leaves = spin_until(|| !kernel().masks.is_active(target));
        spin_for(Duration::from_millis(20));
        let second = api::call_on(target, place);
        drop(here);
        (first, leaves, second)
    });
    let sender = sender.expect("a sender is started");
    assert!(
        spin_until(|| inside.load(Ordering::Relaxed)),
        "it doesn't start"
    );
    let down = api::cpu_down(target);
    let gone = api::call_on(target, place);
    let up = api::cpu_up(target);
    let here = Ok((target, false));
    ktap.equal(
        name,
        (sender.join(), down, gone, up),
        (
            (here, true, here),
            Ok(()),
            Err(CallError::Offline(target)),
            Ok(()),
        ),
    );
}
