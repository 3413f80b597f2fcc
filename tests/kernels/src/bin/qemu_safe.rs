//! Unusual use of the library by safe code, which must do no harm: masks with CPUs of a larger
//! machine, handles that are kept or forgotten, timers whose functions own values.

//@ smp: 1 4
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::thread::{self, Builder, JoinHandle, OnOffline};
use stillpoint::api::{self, rcu};
use stillpoint::config::{MAX_CPUS, ORDINARY_STACKS};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sched::SpawnError;
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, eventually};

type Timer = stillpoint::sched::Timer<Hw>;

fn main() {
    let mut ktap = Ktap::new();
    foreign_cpus(&mut ktap);
    kept_handles(&mut ktap);
    held_cpus(&mut ktap);
    owned_by_a_timer(&mut ktap);
    ktap.finish()
}

/// The mask of a CPU that no machine of this test has.
fn foreign() -> CpuMask {
    CpuMask::of(CpuId::new(MAX_CPUS - 1).expect("a CPU number"))
}

/// CPUs that this machine hasn't, while all threads are walked over again and again.
fn foreign_cpus(ktap: &mut Ktap) {
    const ROUNDS: usize = 50_000;
    static DONE: AtomicBool = AtomicBool::new(false);
    let walker = thread::spawn(|| {
        while !DONE.load(Ordering::Relaxed) {
            rcu::synchronize_tasks();
        }
    });
    let refused = (0..ROUNDS).all(|_| {
        let spawned = Builder::new().affinity(foreign()).spawn(|| ());
        matches!(spawned, Err(SpawnError::NoActiveCpu(cpus)) if cpus == foreign())
    });
    DONE.store(true, Ordering::Relaxed);
    walker.join();
    ktap.check("a thread for a CPU that is not there is refused", refused);

    let mut some = foreign();
    some.insert(CpuId::BOOT);
    let body = || thread::current().affinity();
    let cut = Builder::new()
        .affinity(some)
        .spawn(body)
        .map(JoinHandle::join);
    ktap.check(
        "of a mask the CPUs that are not there are left out",
        cut == Ok(CpuMask::of(CpuId::BOOT)),
    );
    let me = thread::current();
    let moved = me.set_affinity(&some);
    let now = me.affinity();
    let anywhere = me.set_affinity(kernel().masks.possible());
    ktap.check(
        "so they are when an affinity is changed",
        moved.is_ok() && now == CpuMask::of(CpuId::BOOT) && anywhere.is_ok(),
    );
    let refusals = [
        Builder::new()
            .affinity(some)
            .on_offline(OnOffline::Refuse)
            .spawn(|| ())
            .is_err(),
        me.set_affinity(&foreign()).is_err(),
        api::call_on(last(&foreign()), || ()).is_err(),
        api::cpu_up(last(&foreign())).is_err(),
        api::cpu_down(last(&foreign())).is_err(),
    ];
    ktap.check(
        "a call, a walk and a thread that holds CPUs are refused there",
        refusals == [true; 5],
    );
    let calls = AtomicU32::new(0);
    let called = api::call_on_many(&some, |_| {
        calls.fetch_add(1, Ordering::Relaxed);
    });
    let nowait = api::call_on_nowait(last(&foreign()), || ());
    ktap.equal(
        "of many that are called only those that are there are called",
        (called, calls.into_inner(), nowait.is_err()),
        (CpuMask::of(CpuId::BOOT), 1, true),
    );
    let none = Builder::new()
        .affinity(CpuMask::EMPTY)
        .on_offline(OnOffline::Refuse);
    ktap.equal(
        "a thread that holds no CPU at all is refused",
        none.spawn(|| ()).err(),
        Some(SpawnError::NoActiveCpu(CpuMask::EMPTY)),
    );
    ktap.equal(
        "a CPU that is not there keeps no memory",
        api::heap_cached(last(&foreign())),
        0,
    );
}

fn last(cpus: &CpuMask) -> CpuId {
    cpus.iter().last().expect("a CPU")
}

/// More threads than there are stacks, one after the other, and all handles kept.
fn kept_handles(ktap: &mut Ktap) {
    let all: Vec<_> = (0..200)
        .map(|number| thread::spawn(move || number))
        .collect();
    let sum: u32 = all.into_iter().map(JoinHandle::join).sum();
    ktap.check("200 threads are started, then joined", sum == 199 * 200 / 2);

    let before = api::stacks_in_use();
    let mut handles = Vec::new();
    let mut threads = Vec::new();
    let mut right = true;
    for number in 0..ORDINARY_STACKS + 100 {
        let handle = Builder::new().spawn(move || number);
        let Ok(handle) = handle else {
            println!("# {number} threads have ended, and no stack is left");
            right = false;
            break;
        };
        right &= eventually(|| handle.is_finished());
        match number % 3 {
            0 => handles.push(handle),
            1 => threads.push(handle.thread()),
            _ => core::mem::forget(handle),
        }
    }
    right &= eventually(|| api::stacks_in_use() == before);
    ktap.check(
        "a thread that has ended has no stack, whatever is kept of it",
        right,
    );
    let values = handles.into_iter().map(JoinHandle::join);
    ktap.check(
        "and its value is there still",
        values.enumerate().all(|(at, value)| value == 3 * at) && !threads.is_empty(),
    );
}

/// A thread that lets no CPU go does so until it has ended, and no longer.
fn held_cpus(ktap: &mut Ktap) {
    let name = "the CPUs that a thread held may go when it has been joined";
    let Some(cpu) = kernel()
        .masks
        .online()
        .iter()
        .find(|cpu| *cpu != CpuId::BOOT)
    else {
        ktap.inapplicable(name, "one CPU");
        return;
    };
    let right = (0..20).all(|_| {
        let holder = Builder::new()
            .affinity(CpuMask::of(cpu))
            .on_offline(OnOffline::Refuse)
            .spawn(|| api::cpu_down(last(&thread::current().affinity())).is_err());
        holder.is_ok_and(JoinHandle::join) && api::cpu_down(cpu).is_ok() && api::cpu_up(cpu).is_ok()
    });
    ktap.check(name, right);
}

/// Says, when it is dropped, whether that was with interrupts off.
struct Owned(Arc<AtomicU32>);

impl Drop for Owned {
    fn drop(&mut self) {
        if !Hw::irqs_enabled() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Timers that are dropped as they go off on another CPU.
fn owned_by_a_timer(ktap: &mut Ktap) {
    const ROUNDS: usize = 2_000;
    let in_handler = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = kernel()
        .masks
        .online()
        .iter()
        .map(|cpu| {
            let in_handler = Arc::clone(&in_handler);
            let setter = move || {
                for round in 0..ROUNDS {
                    let owned = Owned(Arc::clone(&in_handler));
                    let called = Arc::new(AtomicBool::new(false));
                    let say = Arc::clone(&called);
                    let timer = Timer::new(move || {
                        say.store(true, Ordering::Relaxed);
                        let _ = &owned;
                    });
                    timer.start(after(Duration::from_micros(round as u64 % 50)));
                    if round % 2 == 0 {
                        // Moves this thread, so that it drops the timer on another CPU than
                        // the timer's, if there is one.
                        let next = kernel()
                            .masks
                            .online()
                            .iter()
                            .find(|at| *at != Hw::this_cpu());
                        if let Some(next) = next {
                            let moved = thread::current().set_affinity(&CpuMask::of(next));
                            assert!(moved.is_ok(), "the CPU is active");
                        }
                    }
                    while !called.load(Ordering::Relaxed) && round % 3 != 0 {
                        Hw::relax();
                    }
                    drop(timer);
                }
            };
            Builder::new()
                .affinity(CpuMask::of(cpu))
                .spawn(setter)
                .expect("a stack is free")
        })
        .collect();
    for thread in threads {
        thread.join();
    }
    let in_handler = in_handler.load(Ordering::Relaxed);
    println!("# dropped in a handler: {in_handler}");
    ktap.check("what a timer owns is dropped by a thread", in_handler == 0);
}
