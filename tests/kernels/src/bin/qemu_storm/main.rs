//! Everything at once. Two threads take CPUs down and up during threads, scopes, timers, calls,
//! RCU, per-CPU words, locks, stops and allocation. At the end all CPUs but one are taken down,
//! and all that they have begun must end without them. Then all totals add up and all memory is
//! free again.
//!
//! Boot arguments: `seconds=` is the duration (default 60, and then only on 4 CPUs), `seed=` the
//! random seed, which is printed, and `patience=` the number of seconds without a turn after
//! which a worker counts as stuck (default 90). The case `stuck` has a worker that is stuck.

//@ smp: 1 2 4 8 20
//@ timeout: 300
//@ cases: mixture stuck
//
//@ case: stuck
//@ status: 101
//@ output: ^# stuck/0 has made no turn for 2s after 0, seed=7$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_storm::stuck\+0x
//@ output: ^# stuck/0 on cpu[0-9]+: Running, may run on 0
//@ output: ^kernel panic on CPU [0-9]+, .*: the storm hangs, seed=7$

#![no_std]
#![no_main]

extern crate alloc;

mod calls;
mod hotplug;
mod locks;
mod memory;
mod reading;
mod scopes;
mod threads;
mod timers;
mod watchdog;
mod words;
mod world;

stillpoint::entry!(main);

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::rcu;
use stillpoint::api::thread::{Builder, JoinHandle};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::{api, println};

use crate::watchdog::{Beat, watch};
use crate::world::{World, cpus};
use kernel_support::case::{case, told};
use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, masks_say, states_say, stop_takes};
use kernel_support::memory::InUse;
use kernel_support::xorshift::Random;

/// A kind of worker: its name, a turn of it, how many there are, and how many more
/// for each CPU.
type Worker = (&'static str, fn(&Arc<World>, &mut Random), usize, usize);

/// The kind that moves CPUs.
const HANDS: &str = "hotplug";

const WORKERS: [Worker; 22] = [
    (HANDS, hotplug::move_cpus, 2, 0),
    ("stops", hotplug::stop, 1, 0),
    ("holds", hotplug::hold, 2, 0),
    ("spawns", threads::spawn, 3, 0),
    ("moves", threads::move_threads, 2, 0),
    ("pins", threads::pin, 2, 0),
    ("computes", threads::compute, 0, 1),
    ("scopes", scopes::scope, 2, 0),
    ("ring", scopes::ring, 1, 0),
    ("timers", timers::own, 2, 0),
    ("shared-timers", timers::shared, 3, 0),
    ("sleeps", timers::sleep, 4, 0),
    ("calls", calls::call, 2, 0),
    ("replaces", reading::replace, 2, 0),
    ("reads", reading::read, 2, 0),
    ("grace", reading::wait, 1, 0),
    ("words", words::count, 2, 0),
    ("puts", locks::put, 2, 0),
    ("takes", locks::take, 2, 0),
    ("locks", locks::lock, 3, 0),
    ("waits", locks::wait, 2, 0),
    ("memory", memory::pass_on, 2, 0),
];

fn main() {
    let patience = Duration::from_secs(told("patience").unwrap_or(90));
    match case() {
        "mixture" => mixture(patience),
        "stuck" => {
            let _world = storm(&[("stuck", stuck, 1, 0)], 600, 7, Duration::from_secs(2));
        }
        _ => {}
    }
    panic!("no such case, or nothing has happened");
}

/// A turn that never ends. No YIELD: by instruction count each costs a switch of CPUs.
#[inline(never)]
fn stuck(_: &Arc<World>, _: &mut Random) {
    let mut turns = 0_u64;
    loop {
        turns = core::hint::black_box(turns.wrapping_add(1));
    }
}

fn mixture(patience: Duration) -> ! {
    let seconds = match told("seconds") {
        Some(seconds) => seconds,
        None if cpus() == 4 => 60,
        None => Ktap::not_applicable("without seconds= the storm is for 4 CPUs"),
    };
    let seed = told("seed").unwrap_or(Hw::now().0);
    let mut ktap = Ktap::new();
    println!("# seed={seed} seconds={seconds}");
    // Memory that is allocated once and kept is allocated before the count.
    all_up(&storm(&WORKERS, 2, seed, patience));
    let before = InUse::settled();
    let world = storm(&WORKERS, seconds, seed, patience);
    println!("{world}");
    ktap.check("every worker has had its turn", world.all_worked());
    ktap.check("parcels are intact", world.parcels.end());
    ktap.check(
        "threads that were started have ended",
        world.threads.add_up(),
    );
    ktap.check(
        "timers that were set have gone off or were cancelled",
        world.timers.add_up(),
    );
    ktap.check(
        "calls that were made have run, once each",
        world.calls.add_up(),
    );
    ktap.check("pages that were replaced are free", world.reading.add_up());
    ktap.check("the words of all CPUs add up", world.words.add_up());
    ktap.check("what was done under locks adds up", world.locks.add_up());
    let back = all_up(&world);
    ktap.check("no worker has seen anything wrong", world.is_sound());
    ktap.check("all CPUs are back", back);
    ktap.check(
        "every step is balanced",
        states_say(kernel().masks.possible()),
    );
    ktap.check(
        "a stop takes all of them",
        stop_takes(kernel().masks.possible()),
    );
    drop(world);
    ktap.check("heap and stacks in use are as before", before.is_back());
    ktap.finish()
}

/// Brings all CPUs up; returns whether they are.
fn all_up(world: &World) -> bool {
    for cpu in kernel().masks.possible().iter() {
        let came = api::cpu_up(cpu);
        world.must(
            came.is_ok(),
            format_args!("CPU{cpu} does not come back: {came:?}"),
        );
    }
    masks_say(kernel().masks.possible())
}

/// Takes all CPUs but one down while the workers run. All that they have begun must end without
/// them.
fn all_down(world: &World) {
    world.hotplug.rest();
    let turns: Vec<u64> = world.beats.iter().map(Beat::turns).collect();
    // Each hand has ended the last turn in which it may move a CPU.
    let rested = || {
        let mut beats = world.beats.iter().zip(&turns);
        beats.all(|(beat, turns)| !beat.name().starts_with(HANDS) || beat.turns() > *turns)
    };
    world.must(eventually(rested), format_args!("the hands do not rest"));
    let masks = &kernel().masks;
    let stays = masks.active().iter().last();
    for cpu in masks.possible().iter().filter(|cpu| Some(*cpu) != stays) {
        // A thread that refuses to go ends before long.
        let went = eventually(|| api::cpu_down(cpu).is_ok());
        world.must(went, format_args!("CPU{cpu} does not go at the end"));
    }
}

/// Lets `workers` work for `seconds`; returns the world after all that they have begun has ended.
fn storm(workers: &[Worker], seconds: u64, seed: u64, patience: Duration) -> Arc<World> {
    let each = |&(name, turn_fn, some, for_each): &Worker| {
        (0..some + for_each * cpus()).map(move |number| (name, turn_fn, number))
    };
    let beat = |(name, _, number)| Beat::new(format!("{name}/{number}"));
    let beats = Arc::new(workers.iter().flat_map(each).map(beat).collect::<Vec<_>>());
    let world = Arc::new(World::new(Arc::clone(&beats)));
    let watchdog = watch(&beats, patience, seed);
    let mut threads: Vec<JoinHandle<()>> = Vec::with_capacity(beats.len());
    for (at, (_, turn_fn, _)) in workers.iter().flat_map(each).enumerate() {
        let world = Arc::clone(&world);
        let mut random = Random::new(seed ^ ((at as u64) << 32));
        let name = beats[at].name();
        let thread = Builder::new().name(name).spawn(move || {
            let beat = &world.beats[at];
            while world.goes_on() {
                turn_fn(&world, &mut random);
                beat.turn();
            }
            beat.end();
        });
        threads.push(thread.expect("a stack is free"));
    }
    api::sleep(Duration::from_secs(seconds));
    all_down(&world);
    world.end();
    threads.into_iter().for_each(JoinHandle::join);
    world.timers.end();
    world.threads.end();
    rcu::barrier();
    // Threads that are not waited for may still run, and calls be on their way.
    let settled = eventually(|| world.threads.add_up() && world.calls.add_up());
    world.must(settled, format_args!("threads or calls do not end"));
    drop(watchdog);
    world
}
