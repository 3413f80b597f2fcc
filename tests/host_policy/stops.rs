//! Stops of the machine, which take all CPUs for a moment.

use stillpoint::cpu::CpuMask;
use stillpoint::sched::Nice;

use crate::bound::{busy, fifo};
use crate::checks;
use crate::world::{Habits, MS, World};

/// Stops a machine whose CPUs run realtime and ordinary threads, while others are idle or
/// have threads that wait. All must run on where they were (`stops-move-nothing` of
/// `sched::balance`).
pub(crate) fn all_run_on_where_they_were() {
    for seed in 1..50 {
        for (cpus, realtime, ordinary) in [(2, 1, 0), (8, 3, 3), (8, 8, 0), (8, 10, 9), (3, 0, 7)] {
            let mut world = World::new(seed, cpus, 0, Habits::default());
            let anywhere = CpuMask::first_n(cpus);
            for priority in 1..=realtime {
                busy(&mut world, fifo(priority), anywhere);
            }
            for _ in 0..ordinary {
                world.spawn_busy(Nice::default());
            }
            world.run_until(MS);
            let places = |world: &World| -> Vec<_> {
                let place = |it: &crate::world::Worker| (it.on, it.thread.usage().migrations);
                world.workers.iter().map(place).collect()
            };
            let before = places(&world);
            world.driver.stop();
            world.driver.rest(&mut world.random);
            world.settle();
            assert_eq!(places(&world), before, "{cpus} CPUs, seed {seed}");
            checks::none_waits_in_vain(&world);
        }
    }
}
