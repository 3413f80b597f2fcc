//! Threads that register and remove services while others take CPUs down and up, and while each
//! service is given work on all CPUs. Each call comes on its own CPU, in an order that makes sense.

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::cpu::{CpuId, current, possible};
use stillpoint::api::hotplug::{Service, cpus_read_lock, register_service};
use stillpoint::api::{Errno, thread};
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kernel_support::storm::storm_of_registrations;
use kernel_support::unharmed::same;
use kernel_support::xorshift::Random;

/// For how many seconds, unless the boot arguments have `seconds=`.
const STORM: u64 = 2;

/// Where a thread of a service is, as its calls say.
const NOTHING: u32 = 0;
const SET_UP: u32 = 1;
const WORKS: u32 = 2;

/// What a service and the thread that registers it share.
struct Seats {
    seats: Vec<AtomicU32>,
    /// Calls that made no sense, or came elsewhere.
    wrong: AtomicU32,
    given: Vec<AtomicBool>,
}

impl Seats {
    fn new() -> Seats {
        let all = possible();
        Seats {
            seats: all.iter().map(|_| AtomicU32::new(NOTHING)).collect(),
            wrong: AtomicU32::new(0),
            given: all.iter().map(|_| AtomicBool::new(false)).collect(),
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

struct Follows(Arc<Seats>);

impl Service for Follows {
    fn setup(&self, cpu: CpuId) -> Result<(), Errno> {
        self.0.step(cpu, NOTHING, SET_UP);
        Ok(())
    }

    fn should_run(&self, cpu: CpuId) -> bool {
        self.0.given[cpu.index()].load(Ordering::Relaxed)
    }

    fn run(&self, cpu: CpuId) {
        self.0.step(cpu, WORKS, WORKS);
        self.0.given[cpu.index()].store(false, Ordering::Relaxed);
    }

    fn park(&self, cpu: CpuId) {
        self.0.step(cpu, WORKS, SET_UP);
    }

    fn unpark(&self, cpu: CpuId) {
        self.0.step(cpu, SET_UP, WORKS);
    }

    fn cleanup(&self, cpu: CpuId) {
        self.0.step(cpu, SET_UP, NOTHING);
    }
}

/// Registers a service, has it work, and removes it; returns whether all was right.
fn register(random: &mut Random) -> bool {
    let service = Arc::new(Seats::new());
    let registered = register_service("storm", Follows(Arc::clone(&service)));
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

pub(crate) fn storm() -> bool {
    storm_of_registrations(2, register, STORM)
}
