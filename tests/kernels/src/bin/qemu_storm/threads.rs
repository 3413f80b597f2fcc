//! Starts threads of every class on any CPUs, and joins or detaches them. Moves threads while
//! they run, and checks that pinned threads stay on their CPU.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use stillpoint::api::rcu;
use stillpoint::api::thread::{self, Builder, Class, JoinHandle, OnOffline, Priority, Thread};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::sched::SpawnError;
use stillpoint::sched::lock::Mutex;
use stillpoint::sync::PreemptGuard;

use crate::world::{Count, World, another, any_cpus, micros, one_in};
use kernel_support::machine::spin_for;
use kernel_support::xorshift::Random;

/// The most threads that are kept for other threads to move.
const KNOWN: usize = 16;

/// The counts of what the threads did, and the threads that may be moved.
pub(crate) struct Threads {
    started: Count,
    ended: Count,
    /// Threads that could not be started: no stack was left, or none of their CPUs was active.
    refused: Count,
    moved: Count,
    pinned: Count,
    computed: Count,
    /// Some of the started threads. They may have ended.
    known: Mutex<Vec<Thread>, Hw>,
}

impl Threads {
    pub(crate) fn new() -> Threads {
        Threads {
            started: Count::default(),
            ended: Count::default(),
            refused: Count::default(),
            moved: Count::default(),
            pinned: Count::default(),
            computed: Count::default(),
            known: Mutex::new(Vec::with_capacity(KNOWN)),
        }
    }

    pub(crate) fn has_worked(&self) -> bool {
        [&self.ended, &self.moved, &self.pinned, &self.computed]
            .iter()
            .all(|count| count.get() > 0)
    }

    pub(crate) fn add_up(&self) -> bool {
        self.started.get() == self.ended.get()
    }

    /// Drops the threads that may be moved.
    pub(crate) fn end(&self) {
        self.known.lock().clear();
    }
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "threads={} ended={} refused={} moved={} pinned={} computed={}",
            self.started, self.ended, self.refused, self.moved, self.pinned, self.computed
        )
    }
}

/// The body of a short thread. A thread of depth 0 may start another.
fn live(world: &Arc<World>, random: &mut Random, depth: u32) {
    for _ in 0..1 + random.below(3) {
        match random.below(8) {
            0 => thread::sleep(micros(random, 600)),
            1 => thread::yield_now(),
            2 => {
                thread::park_timeout(micros(random, 300));
            }
            3 => {
                core::hint::black_box(alloc::vec![1_u64; random.below(200)]);
            }
            4 => stay(world, random),
            5 if depth == 0 => {
                let seed = another(random);
                if let Some(child) = start(world, Builder::new().name("child"), seed, 1) {
                    child.join();
                }
            }
            6 => rcu::read(|_| spin_for(micros(random, 20))),
            _ => spin_for(micros(random, 150)),
        }
    }
}

/// Starts a thread that lives for a while. It returns the last number of its random sequence.
fn start(
    world: &Arc<World>,
    builder: Builder,
    mut random: Random,
    depth: u32,
) -> Option<JoinHandle<usize>> {
    let its = Arc::clone(world);
    world.threads.started.add(1);
    let spawned = builder.spawn(move || {
        live(&its, &mut random, depth);
        let value = random.below(1000);
        its.threads.ended.add(1);
        value
    });
    match spawned {
        Ok(thread) => Some(thread),
        Err(error) => {
            // The refused start has dropped the thread's body without running it.
            world.threads.ended.add(1);
            world.threads.refused.add(1);
            if error == SpawnError::OutOfStacks {
                thread::sleep(Duration::from_micros(500));
            }
            None
        }
    }
}

fn any_class(random: &mut Random) -> Class {
    let urgency = u8::try_from(1 + random.below(98)).expect("1 to 98");
    let priority = Priority::new(urgency).expect("a priority");
    match random.below(8) {
        0 => Class::fifo(priority),
        1 => Class::round_robin(priority),
        _ => Class::Normal,
    }
}

/// Starts threads, joins some of them in any order, and detaches the others.
pub(crate) fn spawn(world: &Arc<World>, random: &mut Random) {
    let mut threads = Vec::new();
    for _ in 0..8 {
        let mut builder = Builder::new().name("short").class(any_class(random));
        let refuses = one_in(random, 8);
        if refuses {
            builder = builder.on_offline(OnOffline::Refuse);
        }
        if refuses || one_in(random, 3) {
            builder = builder.affinity(any_cpus(random));
        }
        let seed = another(random);
        let Some(thread) = start(world, builder, seed, 0) else {
            continue;
        };
        if one_in(random, 3) {
            let mut known = world.threads.known.lock();
            if known.len() == KNOWN {
                known.swap_remove(random.below(KNOWN));
            }
            known.push(thread.thread());
        }
        if one_in(random, 4) {
            drop(thread);
        } else {
            threads.push(thread);
        }
        if threads.len() > 4 {
            let value = threads.swap_remove(random.below(threads.len())).join();
            world.must(value < 1000, format_args!("a thread ended with {value}"));
        }
    }
    for thread in threads {
        let value = thread.join();
        world.must(value < 1000, format_args!("a thread ended with {value}"));
    }
}

/// Moves the current thread, and threads that may run, wait or have ended.
pub(crate) fn move_threads(world: &Arc<World>, random: &mut Random) {
    let one = {
        let known = world.threads.known.lock();
        match known.len() {
            0 => None,
            many => Some(known[random.below(many)].clone()),
        }
    };
    if let Some(one) = one {
        // Its CPUs may all be off.
        if one.set_affinity(&any_cpus(random)).is_ok() {
            world.threads.moved.add(1);
        }
        if one_in(random, 2) {
            one.unpark();
        }
    }
    let pin = one_in(random, 3).then(thread::migrate_disable);
    if thread::current().set_affinity(&any_cpus(random)).is_ok() && pin.is_none() {
        let here = PreemptGuard::<Hw>::new();
        let (cpu, cpus) = (thread::current_cpu_racy(), thread::current().affinity());
        // A CPU that goes offline still runs threads that have to leave it.
        let right = cpus.contains(cpu) || !kernel().masks.is_active(cpu);
        drop(here);
        world.must(
            right,
            format_args!("may run on {cpus}, and runs on {cpu:?}"),
        );
    }
    drop(pin);
    let anywhere = thread::current().set_affinity(kernel().masks.possible());
    world.must(anywhere.is_ok(), format_args!("anywhere: {anywhere:?}"));
    thread::sleep(micros(random, 400));
}

/// Checks that a pinned thread stays on its CPU while it sleeps, yields and computes, also in
/// a second pin.
fn stay(world: &Arc<World>, random: &mut Random) {
    let pin = thread::migrate_disable();
    let here = pin.cpu();
    for _ in 0..3 {
        match random.below(4) {
            0 => thread::sleep(micros(random, 300)),
            1 => thread::yield_now(),
            2 => {
                let second = thread::migrate_disable();
                let there = second.cpu();
                world.must(
                    there == here,
                    format_args!("pinned twice: {here:?}, {there:?}"),
                );
                thread::sleep(micros(random, 100));
            }
            _ => spin_for(micros(random, 200)),
        }
        let now = thread::current_cpu_racy();
        world.must(
            now == here,
            format_args!("pinned to {here:?}, found on {now:?}"),
        );
    }
    world.threads.pinned.add(1);
}

/// Stays pinned for a while, and ends the pin.
pub(crate) fn pin(world: &Arc<World>, random: &mut Random) {
    stay(world, random);
    thread::sleep(micros(random, 300));
}

/// Computes without giving up its CPU, except for a moment at the end of its turn.
pub(crate) fn compute(world: &Arc<World>, random: &mut Random) {
    let mut sum = 0_u64;
    for number in 0..20_000 + random.below(40_000) as u64 {
        sum = core::hint::black_box(sum.wrapping_mul(31).wrapping_add(number));
    }
    spin_for(micros(random, 500));
    world.threads.computed.add(1);
    thread::yield_now();
}
