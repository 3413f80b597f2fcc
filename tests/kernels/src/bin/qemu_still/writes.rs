//! fn sees all that each CPU did before it arrived, and each CPU sees all that fn did.
//!
//! On each CPU a worker writes the number of its step to two words, one after the other, in a
//! section that a still point excludes. Before it writes, it looks whether its CPU has been in a
//! still point since its last look: if so, fn must have seen exactly the step before, whole,
//! and what fn wrote must be there. No access of the two has an ordering of its own.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::sync::{IrqGuard, PreemptGuard, SpinLock};
use stillpoint::api::{self, JoinHandle, rcu};
use stillpoint::cpu::{CpuId, PerCpu};
use stillpoint::kernel::kernel;
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stillpoint::time::Instant;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, spin_for};
use kernel_support::xorshift::Random;

/// What the worker of one CPU and the function of a stop share. All accesses are Relaxed:
/// the still point orders them.
#[derive(Default)]
struct Slot {
    /// Written by the worker, in this order.
    step: [AtomicU64; 2],
    /// Written by fn: what it saw of `step`, and the number of the stop.
    seen: [AtomicU64; 2],
    stop: AtomicU64,
    /// How many stops the worker has noticed, and how many of them were not as they should be.
    noticed: AtomicU64,
    wrong: AtomicU64,
}

struct World {
    slots: PerCpu<Slot>,
    locks: PerCpu<SpinLock<()>>,
    end: AtomicBool,
}

/// The kinds of sections that a still point excludes, in turn, and none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sections {
    Each,
    None,
}

impl Slot {
    fn steps(&self) -> [u64; 2] {
        [&self.step[0], &self.step[1]].map(|word| word.load(Ordering::Relaxed))
    }

    /// What the worker does in each of its sections. `last` is when its CPU left a stop last.
    fn step(&self, cpu: CpuId, last: &mut Instant, number: u64, random: &mut Random) {
        let left = kernel().stop_machine.times().irqs_off(cpu).end;
        if left != *last {
            *last = left;
            let noticed = self.noticed.load(Ordering::Relaxed) + 1;
            let seen = [&self.seen[0], &self.seen[1]].map(|word| word.load(Ordering::Relaxed));
            let stop = self.stop.load(Ordering::Relaxed);
            if seen != [number - 1; 2] || stop != noticed {
                self.wrong.fetch_add(1, Ordering::Relaxed);
            }
            self.noticed.store(noticed, Ordering::Relaxed);
        }
        self.step[0].store(number, Ordering::Relaxed);
        spin_for(Duration::from_micros(random.below(50) as u64));
        self.step[1].store(number, Ordering::Relaxed);
    }
}

/// The worker of `cpu`.
fn work(world: &World, cpu: CpuId, sections: Sections) {
    let slot = world.slots.get(cpu);
    let lock = world.locks.get(cpu);
    let mut random = Random::new(cpu.index() as u64);
    let mut last = kernel().stop_machine.times().irqs_off(cpu).end;
    let mut number = 0;
    while !world.end.load(Ordering::Relaxed) {
        number += 1;
        let mut step = || slot.step(cpu, &mut last, number, &mut random);
        match (sections, number % 5) {
            (Sections::None, _) => step(),
            (_, 0) => {
                let _section = PreemptGuard::new();
                step();
            }
            (_, 1) => {
                let _section = IrqGuard::new();
                step();
            }
            (_, 2) => {
                let _section = lock.lock();
                step();
            }
            (_, 3) => {
                let _section = lock.lock_irqsave();
                step();
            }
            _ => rcu::read(|_| step()),
        }
    }
}

fn start(sections: Sections) -> (Arc<World>, Vec<JoinHandle<()>>) {
    let cpus = kernel().masks.possible().count();
    let world = Arc::new(World {
        slots: PerCpu::new(cpus, |_| Slot::default()),
        locks: PerCpu::new(cpus, |_| SpinLock::new(())),
        end: AtomicBool::new(false),
    });
    let spawn = |cpu| {
        let shared = Arc::clone(&world);
        let worker = api::spawn_on(cpu, "worker", move || work(&shared, cpu, sections));
        worker.expect("a worker is started")
    };
    let workers = kernel().masks.online().iter().map(spawn).collect();
    let begun = || world.slots.iter().all(|(_, slot)| slot.steps()[1] > 0);
    assert!(eventually(begun), "a worker doesn't start");
    (world, workers)
}

/// Has fn look at each CPU's words, and write what it sees. Returns whether no CPU was in the
/// middle of a step, and no lock was taken.
fn look(world: &World, stop: u64) -> bool {
    let all = world.slots.iter().all(|(_, slot)| {
        let found = slot.steps();
        slot.seen[0].store(found[0], Ordering::Relaxed);
        slot.seen[1].store(found[1], Ordering::Relaxed);
        slot.stop.store(stop, Ordering::Relaxed);
        found[0] == found[1]
    });
    all && world
        .locks
        .iter()
        .all(|(_, lock)| lock.try_lock_irqsave().is_some())
}

fn end(world: &World, workers: Vec<JoinHandle<()>>) {
    world.end.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(JoinHandle::join);
}

fn excluded(ktap: &mut Ktap) {
    let stops = if kernel().masks.online().count() > 8 {
        20
    } else {
        60
    };
    let (world, workers) = start(Sections::Each);
    let mut whole = true;
    let mut noticed = true;
    for stop in 1..=stops {
        whole &= api::stop_machine(|| look(&world, stop)) == Ok(true);
        let all_have = || {
            let mut slots = world.slots.iter();
            slots.all(|(_, slot)| slot.noticed.load(Ordering::Relaxed) == stop)
        };
        noticed &= eventually(all_have);
    }
    end(&world, workers);
    let wrong: u64 = world
        .slots
        .iter()
        .map(|(_, slot)| slot.wrong.load(Ordering::Relaxed))
        .sum();
    if wrong > 0 {
        println!("# {wrong} of {stops} stops on each CPU");
    }
    ktap.check(
        "while fn runs no CPU is inside a section, and no spin lock is held",
        whole,
    );
    ktap.check(
        "fn has seen each CPU's last write before its arrival, and each CPU sees what fn wrote",
        noticed && wrong == 0,
    );
}

/// The same work without sections. A thread that was merely preempted is in the middle of a
/// step, and fn sees it there.
fn not_excluded(ktap: &mut Ktap) {
    let (world, workers) = start(Sections::None);
    let torn = || api::stop_machine(|| look(&world, 0)) == Ok(false);
    ktap.check(
        "with preemption on a thread is in the middle of its change while fn runs",
        eventually(torn),
    );
    end(&world, workers);
}

/// Checks what fn and the CPUs see of each other.
pub(crate) fn check(ktap: &mut Ktap) {
    excluded(ktap);
    not_excluded(ktap);
}
