//! Threads whose class changes while they wait, or the CPUs on which they may run.

use std::sync::Arc;

use stillpoint::cpu::CpuMask;

use crate::bound::{busy, fifo};
use crate::checks;
use crate::driver::{act, cpu, interrupt, sched};
use crate::platform::machine;
use crate::world::{Habits, MS, World};

/// Has a thread that waits become as urgent as another one that waits there, and more urgent
/// than what runs on a CPU on which it may run. It must go there, although what the other
/// CPUs know of its queue stays the same (`most-urgent-run` of `sched::balance`).
pub(crate) fn one_that_waits_becomes_as_urgent_as_the_first() {
    let mut world = World::new(1, 3, 0, Habits::default());
    for (index, priority) in [50, 45, 35].into_iter().enumerate() {
        busy(&mut world, fifo(priority), CpuMask::of(cpu(index)));
    }
    let among = |cpus: [usize; 2]| cpus.into_iter().map(cpu).collect();
    // Each begins where the fewest wait.
    for (priority, cpus, waits_on) in [(30, [0, 2], 0), (20, [1, 2], 1), (40, [0, 1], 0)] {
        busy(&mut world, fifo(priority), among(cpus));
        world.run_until(World::now() + MS);
        let waits = world.workers.last().expect("it was started");
        assert_eq!((waits.on, waits.thread.cpu()), (None, cpu(waits_on)));
    }

    let rises = Arc::clone(&world.workers[3].thread);
    interrupt(1, || sched().set_class(&rises, fifo(40)));
    world.driver.rest(&mut world.random);
    world.settle();
    assert_eq!(world.workers[3].on, Some(2));
    checks::none_waits_in_vain(&world);
}

/// The CPUs of [`one_that_is_next_becomes_less_urgent`].
const TURNS: usize = 0;
const FULL: usize = 1;

/// Has a thread for which its CPU is about to switch, but may not yet, become less urgent than
/// the thread that runs there, while a thread in between waits elsewhere. That CPU hasn't to
/// switch any more, and must be told to look for the other all the same (`most-urgent-run` of
/// `sched::balance`).
pub(crate) fn one_that_is_next_becomes_less_urgent() {
    let mut world = World::new(1, 2, 0, Habits::default());
    let mut start = |priority, on: usize| {
        busy(&mut world, fifo(priority), CpuMask::of(cpu(on)));
        world.driver.rest(&mut world.random);
        world.settle();
        Arc::clone(&world.workers.last().expect("it was started").thread)
    };
    start(10, TURNS);
    start(60, FULL);
    let next = start(50, TURNS);
    act(TURNS, || {
        sched().about_to_block(&next);
        sched().schedule();
    });
    let waits = start(40, FULL);

    machine().cpus[TURNS].set_section(true);
    interrupt(FULL, || sched().wake(&next));
    world.driver.rest(&mut world.random);
    let both = CpuMask::first_n(2);
    act(FULL, || sched().set_affinity(&waits, &both)).expect("active CPUs");
    assert_eq!(waits.cpu(), cpu(FULL), "the next one is more urgent");
    interrupt(FULL, || sched().set_class(&next, fifo(5)));
    world.driver.rest(&mut world.random);
    world.driver.end_section(TURNS);
    world.driver.rest(&mut world.random);
    world.settle();
    checks::none_waits_in_vain(&world);
    assert_eq!(waits.cpu(), cpu(TURNS));
}

/// Lets a thread that waits run on an idle CPU too. It must go there at once
/// (`none-beside-idle` of `sched::balance`), whether another CPU could take it before or not.
pub(crate) fn one_that_waits_may_use_an_idle_cpu() {
    for before in [&[0][..], &[0, 1]] {
        let mut world = World::new(1, 3, 0, Habits::default());
        for on in [0, 1] {
            busy(&mut world, fifo(10), CpuMask::of(cpu(on)));
        }
        let before = before.iter().map(|index| cpu(*index)).collect();
        busy(&mut world, fifo(10), before);
        world.driver.rest(&mut world.random);
        world.settle();
        let waits = Arc::clone(&world.workers[2].thread);
        assert_eq!(world.workers[2].on, None);
        assert!(world.driver.is_idle(2));
        let all = CpuMask::first_n(3);
        act(1, || sched().set_affinity(&waits, &all)).expect("active CPUs");
        world.driver.rest(&mut world.random);
        world.settle();
        checks::none_waits_in_vain(&world);
        assert_eq!(world.workers[2].on, Some(2));
    }
}
