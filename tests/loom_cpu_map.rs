//! Model of the maps by which CPUs and threads find each other: the kernel's
//! `sched::CpuMap`. A thread that is left waiting and a CPU that could run it don't miss
//! each other, and an idle CPU is claimed once.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use loom_orders::every_order;
use stillpoint::cpu::CpuId;
use stillpoint::sched::CpuMap;

/// The levels of the model: two realtime ones, and one behind all that are told apart.
const URGENT: usize = 0;
const LESS: usize = 2;
const ORDINARY: usize = 3;

/// Where a thread waits, and the CPU that could run it.
const HERE: usize = 0;
const THERE: usize = 1;

struct World {
    map: CpuMap,
    /// How many ordinary threads wait. The scheduler has such a count beside the map.
    overloaded: AtomicUsize,
}

impl World {
    fn new() -> World {
        World {
            map: CpuMap::new(2),
            overloaded: AtomicUsize::new(0),
        }
    }

    /// Returns a machine where CPU 1 runs something urgent.
    fn with_urgent() -> World {
        let world = World::new();
        world.map.publish_level(cpu(THERE), ORDINARY, URGENT);
        world
    }

    /// Returns whether CPU 1, which has no work, finds the thread that waits.
    fn goes_idle(&self) -> bool {
        self.map.go_idle(cpu(THERE));
        self.overloaded.load(Ordering::Relaxed) > 0
    }

    /// Returns whether CPU 1, which turns from `from` to `to`, finds the realtime thread
    /// that waits.
    fn turns(&self, from: usize, to: usize) -> bool {
        self.map.publish_level(cpu(THERE), from, to);
        self.map.published();
        self.map.any_waiting() && self.map.waiting().eq([cpu(HERE)])
    }

    /// Returns whether CPU 0, where a thread is left waiting, claims CPU 1.
    fn waits(&self) -> bool {
        self.overloaded.fetch_add(1, Ordering::Relaxed);
        self.map.published();
        self.map.any_idle() && self.claims()
    }

    /// Returns whether CPU 0, where a realtime thread is left waiting that is more urgent
    /// than [`LESS`], finds CPU 1.
    fn waits_urgently(&self) -> bool {
        self.map.publish_waiting(cpu(HERE), true);
        self.map.published();
        self.map.less_urgent(URGENT + 1, cpu(HERE), |_| 0b10) == Some(cpu(THERE))
    }

    fn claims(&self) -> bool {
        self.map.claim_near(cpu(HERE), |_| u64::MAX) == Some(cpu(THERE))
    }
}

fn cpu(number: usize) -> CpuId {
    CpuId::new(number).expect("a small number")
}

/// Models two CPUs, of which at least one must find what the other has published.
fn one_sees(world_fn: fn() -> World, comes_fn: fn(&World) -> bool, waits_fn: fn(&World) -> bool) {
    every_order(move || {
        let world = Arc::new(world_fn());
        let theirs = Arc::clone(&world);
        let comes = thread::spawn(move || comes_fn(&theirs));
        let called = waits_fn(&world);
        let found = comes.join().expect("it doesn't panic");
        assert!(
            called || found,
            "a thread waits beside a CPU that could run it"
        );
    });
}

#[test]
fn a_cpu_that_goes_idle_sees_the_thread_or_is_seen() {
    one_sees(World::new, World::goes_idle, World::waits);
}

#[test]
fn a_cpu_that_turns_to_ordinary_work_sees_the_thread_or_is_seen() {
    one_sees(
        World::with_urgent,
        |world| world.turns(URGENT, ORDINARY),
        World::waits_urgently,
    );
}

#[test]
fn a_cpu_that_turns_to_a_lower_level_sees_the_thread_or_is_seen() {
    one_sees(
        World::with_urgent,
        |world| world.turns(URGENT, LESS),
        World::waits_urgently,
    );
}

/// Models an idle CPU that `other_fn` claims while CPU 0 claims one too: one of both gets
/// it.
fn claimed_once(other_fn: fn(&World) -> bool) {
    every_order(move || {
        let world = Arc::new(World::new());
        world.map.go_idle(cpu(THERE));
        let theirs = Arc::clone(&world);
        let other = thread::spawn(move || other_fn(&theirs));
        let first = world.claims();
        let second = other.join().expect("it doesn't panic");
        assert!(first != second, "both or none claimed the CPU: {first}");
        assert!(!world.map.is_idle(cpu(THERE)));
    });
}

#[test]
fn two_that_look_for_an_idle_cpu_find_it_once() {
    claimed_once(World::claims);
}

#[test]
fn a_waker_and_one_that_looks_claim_a_cpu_once() {
    claimed_once(|world| world.map.claim(cpu(THERE)));
}
