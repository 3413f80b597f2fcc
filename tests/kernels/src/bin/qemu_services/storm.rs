//! Threads that register and remove services while others take CPUs down and up, and while each
//! service is given work on all CPUs. Each call comes on its own CPU, in an order that makes sense.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::cpu::{CpuId, current, possible};
use stillpoint::api::hotplug::{Service, cpu_down, cpu_up, cpus_read_lock, register_service};
use stillpoint::api::thread::{self, JoinHandle};
use stillpoint::api::{Errno, time};
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kernel_support::case::told;
use kernel_support::machine::secondaries;
use kernel_support::unharmed::same;
use kernel_support::xorshift::Random;

/// For how many seconds, unless the boot arguments have `seconds=`.
const STORM: u64 = 2;

/// Where a thread of a service is, as its calls say.
const NOTHING: u32 = 0;
const SET_UP: u32 = 1;
const WORKS: u32 = 2;

struct Follows {
    seats: Vec<AtomicU32>,
    /// Calls that made no sense, or came elsewhere.
    wrong: AtomicU32,
    given: Vec<AtomicBool>,
    ran: AtomicU32,
}

impl Follows {
    fn new() -> Follows {
        let all = possible();
        Follows {
            seats: all.iter().map(|_| AtomicU32::new(NOTHING)).collect(),
            wrong: AtomicU32::new(0),
            given: all.iter().map(|_| AtomicBool::new(false)).collect(),
            ran: AtomicU32::new(0),
        }
    }

    /// Moves the seat of `cpu`.
    fn step(&self, cpu: CpuId, from: u32, to: u32) {
        let was = self.seats[cpu.index()].swap(to, Ordering::Relaxed);
        if was != from || (current() != cpu && to != NOTHING) {
            self.wrong.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self, seat: u32) -> usize {
        let seats = self.seats.iter();
        seats
            .filter(|it| it.load(Ordering::Relaxed) == seat)
            .count()
    }
}

impl Service for Follows {
    fn setup(&self, cpu: CpuId) -> Result<(), Errno> {
        self.step(cpu, NOTHING, SET_UP);
        Ok(())
    }

    fn should_run(&self, cpu: CpuId) -> bool {
        self.given[cpu.index()].load(Ordering::Relaxed)
    }

    fn run(&self, cpu: CpuId) {
        self.step(cpu, WORKS, WORKS);
        self.given[cpu.index()].store(false, Ordering::Relaxed);
        self.ran.fetch_add(1, Ordering::Relaxed);
    }

    fn park(&self, cpu: CpuId) {
        self.step(cpu, WORKS, SET_UP);
    }

    fn unpark(&self, cpu: CpuId) {
        self.step(cpu, SET_UP, WORKS);
    }

    fn cleanup(&self, cpu: CpuId) {
        self.step(cpu, SET_UP, NOTHING);
    }
}

/// Registers a service, has it work, and removes it; returns whether all was right.
fn register(random: &mut Random) -> bool {
    let service = Arc::new(Follows::new());
    struct Shared(Arc<Follows>);
    impl Service for Shared {
        fn setup(&self, cpu: CpuId) -> Result<(), Errno> {
            self.0.setup(cpu)
        }
        fn should_run(&self, cpu: CpuId) -> bool {
            self.0.should_run(cpu)
        }
        fn run(&self, cpu: CpuId) {
            self.0.run(cpu);
        }
        fn park(&self, cpu: CpuId) {
            self.0.park(cpu);
        }
        fn unpark(&self, cpu: CpuId) {
            self.0.unpark(cpu);
        }
        fn cleanup(&self, cpu: CpuId) {
            self.0.cleanup(cpu);
        }
    }
    let registered = register_service("storm", Shared(Arc::clone(&service)));
    let registered = registered.expect("a stack is free");
    for _ in 0..random.below(8) {
        for cpu in possible().iter() {
            service.given[cpu.index()].store(true, Ordering::Relaxed);
            registered.wake(cpu);
        }
        thread::yield_now();
    }
    // None that is online is missing. Its unpark may still be on its way.
    let cpus = cpus_read_lock();
    let online = cpus.online();
    let is_set_up = |cpu: CpuId| service.seats[cpu.index()].load(Ordering::Relaxed) != NOTHING;
    let complete = online.iter().all(is_set_up);
    drop(cpus);
    let removed = match random.below(2) {
        0 => registered.remove().is_ok(),
        _ => {
            drop(registered);
            true
        }
    };
    complete
        & removed
        & same("left", service.count(NOTHING), service.seats.len())
        & same("wrong", service.wrong.load(Ordering::Relaxed), 0)
}

fn move_cpus(random: &mut Random) -> bool {
    let others = secondaries();
    if others.is_empty() {
        thread::yield_now();
        return true;
    }
    let cpu = others[random.below(others.len())];
    match random.below(2) {
        0 => cpu_down(cpu).is_ok(),
        _ => cpu_up(cpu).is_ok(),
    }
}

/// Does `turn_fn` until the storm is over; returns how often, or `None` if a turn went wrong.
fn worker(
    seed: u64,
    over: &Arc<AtomicBool>,
    turn_fn: fn(&mut Random) -> bool,
) -> JoinHandle<Option<u32>> {
    let over = Arc::clone(over);
    thread::spawn(move || {
        let mut random = Random::new(seed);
        let mut turns = 0;
        while !over.load(Ordering::Relaxed) {
            if !turn_fn(&mut random) {
                println!("# turn {turns} of worker {seed} went wrong");
                return None;
            }
            turns += 1;
        }
        Some(turns)
    })
}

pub(crate) fn storm() -> bool {
    let over = Arc::new(AtomicBool::new(false));
    let registers: Vec<_> = (1..=2).map(|seed| worker(seed, &over, register)).collect();
    let moves: Vec<_> = (3..=4).map(|seed| worker(seed, &over, move_cpus)).collect();
    let storm = Duration::from_secs(told("seconds").unwrap_or(STORM));
    thread::sleep_until(time::now() + storm);
    over.store(true, Ordering::Relaxed);
    let sum = |workers: Vec<JoinHandle<Option<u32>>>| {
        let turns = workers.into_iter().map(JoinHandle::join);
        turns.sum::<Option<u32>>()
    };
    let (registered, moved) = (sum(registers), sum(moves));
    println!("# {registered:?} registrations, {moved:?} operations");
    let back = secondaries().into_iter().all(|cpu| cpu_up(cpu).is_ok());
    back && registered.is_some() && moved.is_some()
}
