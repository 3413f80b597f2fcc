//! FP and SIMD belong to threads: all vector registers, the rounding mode and the
//! flags are each thread's own, however often it loses its CPU and wherever it goes.

//@ smp: 1 2 4 20
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api;
use stillpoint::api::thread::{self, Builder, JoinHandle};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, eventually, secondaries};
use kernel_support::registers::{self, Control, Vectors};

/// Threads on each CPU, up to the number of stacks.
const EACH: usize = 3;

fn main() {
    let mut ktap = Ktap::new();
    preempted(&mut ktap);
    moved(&mut ktap);
    waiting(&mut ktap);
    ktap.finish()
}

/// The state that the threads of a test share.
#[derive(Default)]
struct Shared {
    end: AtomicBool,
    /// The number of holds during which a thread moved to another CPU.
    moves: AtomicU64,
    holds: AtomicU64,
}

/// Holds the thread's own values again and again; returns whether they stayed the same.
fn holds(shared: &Shared, seed: u64) -> bool {
    let mut right = true;
    let mut turn = 0;
    while right && !shared.end.load(Ordering::Relaxed) {
        turn += 1;
        let values = Vectors::new(seed * 1_000_000 + turn);
        let control = Control::new(seed + turn);
        let before = thread::current_cpu_racy();
        let (found, control_found) =
            registers::hold_all(&values, &control, after(Duration::from_millis(6)));
        let moved = thread::current_cpu_racy() != before;
        right = found == values && control_found == control;
        if !right {
            println!("# seed {seed}, turn {turn}: {control:?}, then {control_found:?}");
        }
        shared.moves.fetch_add(u64::from(moved), Ordering::Relaxed);
        shared.holds.fetch_add(1, Ordering::Relaxed);
    }
    right
}

fn start(shared: &Arc<Shared>, cpu: Option<CpuId>, seed: u64) -> JoinHandle<bool> {
    let shared = Arc::clone(shared);
    let builder = Builder::new().name("holder");
    let builder = match cpu {
        Some(cpu) => builder.affinity(CpuMask::of(cpu)),
        None => builder,
    };
    let body = move || holds(&shared, seed);
    builder.spawn(body).expect("a stack is free")
}

fn end(shared: &Shared, threads: Vec<JoinHandle<bool>>) -> bool {
    shared.end.store(true, Ordering::Relaxed);
    let ended: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
    ended.into_iter().all(|right| right)
}

/// Several threads of each CPU: a hold is longer than a slice.
fn preempted(ktap: &mut Ktap) {
    let shared = Arc::new(Shared::default());
    let threads: Vec<_> = kernel()
        .masks
        .online()
        .iter()
        .flat_map(|cpu| (0..EACH).map(move |_| cpu))
        .zip(1..)
        .map(|(cpu, seed)| start(&shared, Some(cpu), seed))
        .collect();
    let wanted = 10 * threads.len() as u64;
    let enough = eventually(|| {
        thread::sleep(Duration::from_millis(5));
        shared.holds.load(Ordering::Relaxed) >= wanted
    });
    let kept = end(&shared, threads);
    ktap.check(
        "q0 to q31, FPCR and FPSR survive preemption by others of the CPU",
        kept && enough,
    );
}

fn moved(ktap: &mut Ktap) {
    let names = [
        "they survive the way to other CPUs",
        "and that their CPU goes under them",
    ];
    let cpus: Vec<_> = kernel().masks.online().iter().collect();
    if cpus.len() == 1 {
        for name in names {
            ktap.inapplicable(name, "one CPU");
        }
        return;
    }
    let shared = Arc::new(Shared::default());
    let threads: Vec<_> = (0..2 * cpus.len().min(8) as u64)
        .map(|seed| start(&shared, None, seed + 1))
        .collect();
    let all = kernel().masks.online();
    let mut turn = 0;
    let enough = eventually(|| {
        turn += 1;
        for (handle, number) in threads.iter().zip(turn..) {
            let cpu = CpuMask::of(cpus[number % cpus.len()]);
            let told = handle.thread().set_affinity(&cpu);
            assert!(told.is_ok(), "{told:?}");
        }
        thread::sleep(Duration::from_millis(2));
        shared.moves.load(Ordering::Relaxed) >= 50
    });
    for handle in &threads {
        let told = handle.thread().set_affinity(&all);
        assert!(told.is_ok(), "{told:?}");
    }
    let kept = end(&shared, threads);
    println!(
        "# moved in {} of {} holds",
        shared.moves.load(Ordering::Relaxed),
        shared.holds.load(Ordering::Relaxed)
    );
    ktap.check(names[0], kept && enough);

    let shared = Arc::new(Shared::default());
    let threads: Vec<_> = (0..2 * cpus.len().min(8) as u64)
        .map(|seed| start(&shared, None, seed + 1))
        .collect();
    let cycled = secondaries().into_iter().take(6).all(|cpu| {
        let gone = api::cpu_down(cpu).is_ok();
        thread::sleep(Duration::from_millis(5));
        gone && api::cpu_up(cpu).is_ok()
    });
    let kept = end(&shared, threads);
    println!(
        "# moved in {} of {} holds",
        shared.moves.load(Ordering::Relaxed),
        shared.holds.load(Ordering::Relaxed)
    );
    ktap.check(names[1], kept && cycled);
}

/// A rounding mode is kept where a thread gives the CPU away by itself, too.
fn waiting(ktap: &mut Ktap) {
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let body = move || {
                (0..50).all(|turn| {
                    let control = Control::new(seed + turn);
                    registers::keeps_rounding_over(&control, give_way)
                })
            };
            let builder = Builder::new().affinity(CpuMask::of(CpuId::BOOT));
            builder.spawn(body).expect("a stack is free")
        })
        .collect();
    let kept = threads.into_iter().map(JoinHandle::join);
    let kept: Vec<_> = kept.collect();
    ktap.equal(
        "a rounding mode is a thread's own when it waits",
        kept,
        [true; 4].to_vec(),
    );
}

extern "C" fn give_way() {
    let began = Hw::now();
    thread::yield_now();
    if began.0 % 2 == 0 {
        thread::sleep(Duration::from_micros(50));
    }
}
