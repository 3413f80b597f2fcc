//! Threads whose class changes while they wait.

use std::sync::Arc;

use stillpoint::cpu::CpuMask;

use crate::bound::{busy, fifo};
use crate::checks;
use crate::driver::{cpu, interrupt, sched};
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
