//! Two threads ("hands") that take CPUs down and bring them up, stops meanwhile, and threads that
//! hold the CPUs lock.

use alloc::sync::Arc;
use core::fmt;

use stillpoint::api;
use stillpoint::api::thread;
use stillpoint::cpu::CpuId;
use stillpoint::hotplug::CpuDownError;
use stillpoint::kernel::kernel;
use stillpoint::sync::atomic::{AtomicBool, Ordering};

use crate::world::{Count, World, cpu, cpus, micros};
use kernel_support::machine::spin_for;
use kernel_support::xorshift::Random;

/// Counters of the operations.
#[derive(Default)]
pub(crate) struct Hotplug {
    downs: Count,
    ups: Count,
    /// How often a CPU stayed because a thread is bound to it, or because it was the last.
    refused: Count,
    stops: Count,
    held: Count,
    /// Whether the hands move no CPU any more. Relaxed: they read it once a turn.
    rests: AtomicBool,
}

impl Hotplug {
    /// Has the hands move no CPU any more, from their next turn on.
    pub(crate) fn rest(&self) {
        self.rests.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_worked(&self) -> bool {
        let moved = self.downs.get() > 0 && self.ups.get() > 0;
        (moved || cpus() == 1) && self.stops.get() > 0 && self.held.get() > 0
    }
}

impl fmt::Display for Hotplug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "downs={} ups={} refused={} stops={} held={}",
            self.downs, self.ups, self.refused, self.stops, self.held
        )
    }
}

fn down(world: &World, cpu: CpuId) {
    match api::cpu_down(cpu) {
        Ok(()) => world.hotplug.downs.add(1),
        Err(CpuDownError::BoundThreads { .. } | CpuDownError::LastOnline(_)) => {
            world.hotplug.refused.add(1);
        }
        Err(error) => world.must(false, format_args!("CPU{cpu} down: {error}")),
    }
}

fn up(world: &World, cpu: CpuId) {
    match api::cpu_up(cpu) {
        Ok(()) => world.hotplug.ups.add(1),
        Err(error) => world.must(false, format_args!("CPU{cpu} up: {error}")),
    }
}

/// Moves one CPU, any one, or all of them but one after the other. The other hand may move them
/// back meanwhile.
pub(crate) fn move_cpus(world: &Arc<World>, random: &mut Random) {
    if cpus() > 1 && !world.hotplug.rests.load(Ordering::Relaxed) {
        let one = cpu(random.below(cpus()));
        let others = (0..cpus()).map(cpu).filter(|other| *other != one);
        match random.below(10) {
            0 => others.for_each(|other| down(world, other)),
            1 => others.for_each(|other| up(world, other)),
            2..=5 => down(world, one),
            _ => up(world, one),
        }
    }
    thread::sleep(micros(random, 5000));
}

/// Stops the machine, and checks that no thread is in a section with preemption off then.
pub(crate) fn stop(world: &Arc<World>, random: &mut Random) {
    let mut ran = 0;
    let stopped = api::stop_machine(|| {
        ran += 1;
        let before = world.words.inside();
        spin_for(micros(random, 10));
        (before, world.words.inside())
    });
    match stopped {
        Ok(inside) => {
            world.must(
                inside == (0, 0) && ran == 1,
                format_args!("{inside:?} are in a section, in a still point that ran {ran} times"),
            );
            world.hotplug.stops.add(1);
        }
        Err(error) => world.must(false, format_args!("a stop: {error}")),
    }
    thread::sleep(micros(random, 3000));
}

/// Holds the CPUs lock, and checks that no CPU comes or goes meanwhile.
pub(crate) fn hold(world: &Arc<World>, random: &mut Random) {
    let masks = &kernel().masks;
    let held = api::cpus_read_lock();
    let before = masks.online();
    match random.below(3) {
        0 => thread::sleep(micros(random, 1000)),
        1 => thread::yield_now(),
        _ => spin_for(micros(random, 100)),
    }
    let (online, active) = (masks.online(), masks.active());
    drop(held);
    world.must(
        online == before && active == before,
        format_args!("CPUs {before} were held; then {online} were online, {active} active"),
    );
    world.hotplug.held.add(1);
    thread::sleep(micros(random, 600));
}
