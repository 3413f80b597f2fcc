//! Threads that are started or woken by one loop begin on different idle CPUs.

use alloc::vec::Vec;
use core::hint::black_box;

use stillpoint::api::cpus_read_lock;
use stillpoint::api::thread::{self, JoinHandle};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, Ordering};

use crate::team::{as_boss, ms, on};
use kernel_support::coming::Coming;
use kernel_support::ktap::Ktap;
use kernel_support::machine::after;

/// How many times it is looked at.
const ROUNDS: usize = 8;

pub(crate) fn pile(ktap: &mut Ktap) {
    let both = || {
        let rounds = (0..ROUNDS).map(|_| (started(), woken()));
        rounds.fold((0, 0), |(starts, wakes), (start, wake)| {
            (starts + usize::from(start), wakes + usize::from(wake))
        })
    };
    let (starts, wakes) = as_boss(both);
    ktap.equal(
        "threads that one loop starts begin on different idle CPUs",
        starts,
        ROUNDS,
    );
    ktap.equal("so do those that one loop wakes", wakes, ROUNDS);
    let ((starts, wakes), walks) = as_boss(move || {
        let coming = Coming::start();
        (both(), coming.end())
    });
    ktap.equal(
        "so they do on the CPUs that are there when others come and go",
        (starts, wakes, walks.is_some()),
        (ROUNDS, ROUNDS, true),
    );
}

/// The threads are to end. Relaxed: a flag of its own.
static END: AtomicBool = AtomicBool::new(false);

/// Returns the CPUs that are idle while the caller runs.
fn idle_cpus() -> CpuMask {
    kernel()
        .masks
        .online()
        .without(&CpuMask::of(Hw::this_cpu()))
}

/// Starts a short thread for each idle CPU. Returns whether each began on one of its own.
fn started() -> bool {
    let _held = cpus_read_lock();
    thread::sleep(ms(2));
    let idle = idle_cpus();
    let start = |_| thread::spawn(begin);
    let threads: Vec<JoinHandle<CpuId>> = idle.iter().map(start).collect();
    all_begin_on("started", &idle, threads)
}

/// Wakes a thread for each idle CPU. All of them wait on the same CPU. Returns whether each
/// began on one of its own.
fn woken() -> bool {
    let _held = cpus_read_lock();
    let online = kernel().masks.online();
    let last = online.iter().last().expect("this CPU is online");
    let start = |_| {
        let thread = on(last).spawn(|| {
            thread::park();
            begin()
        });
        thread.expect("a stack is free")
    };
    let threads: Vec<JoinHandle<CpuId>> = idle_cpus().iter().map(start).collect();
    thread::sleep(ms(2));
    for thread in &threads {
        let anywhere = thread.thread().set_affinity(&online);
        anywhere.expect("it may run there");
    }
    thread::sleep(ms(2));
    let idle = idle_cpus();
    threads.iter().for_each(|thread| thread.thread().unpark());
    all_begin_on("woken", &idle, threads)
}

/// Returns the CPU on which the thread begins, and computes until all have begun: the loop
/// that starts them may take long where many CPUs take turns.
fn begin() -> CpuId {
    let cpu = Hw::this_cpu();
    let until = after(ms(200));
    // Without a YIELD, for which QEMU takes long.
    while !END.load(Ordering::Relaxed) && Hw::now() < until {
        for count in 0..200 {
            black_box(count);
        }
    }
    cpu
}

fn all_begin_on(how: &str, idle: &CpuMask, threads: Vec<JoinHandle<CpuId>>) -> bool {
    thread::sleep(ms(2));
    END.store(true, Ordering::Relaxed);
    let began: Vec<CpuId> = threads.into_iter().map(JoinHandle::join).collect();
    let mut cpus = CpuMask::EMPTY;
    began.iter().for_each(|cpu| cpus.insert(*cpu));
    if cpus != *idle {
        println!("# {how}: idle were {idle}, they began on {began:?}");
    }
    END.store(false, Ordering::Relaxed);
    cpus == *idle
}
