//! A recorded load: what the threads of a build did.

use stillpoint::sched::Nice;

use crate::checks;
use crate::world::{Habits, US, World};

/// The recording.
const BUILD: &str = include_str!("build.txt");

/// How many times as short as in the recording the sleeps are, which was made on a machine
/// that was busy otherwise: so there is more to do than two CPUs can.
const HURRY: u64 = 25;

/// Returns for how long each thread of the recording computes and sleeps, in ticks.
fn scripts() -> Vec<Vec<(u64, u64)>> {
    let lines = BUILD.lines().filter(|line| !line.starts_with('#'));
    let script = |line: &str| {
        let (_, bursts) = line.split_once(": ").expect("a name");
        let burst = |burst: &str| {
            let (computes, sleeps) = burst.split_once(',').expect("two times");
            let ticks = |text: &str| US * text.parse::<u64>().expect("a number");
            (ticks(computes), ticks(sleeps) / HURRY)
        };
        bursts.split(' ').map(burst).collect()
    };
    lines.map(script).collect()
}

/// Runs the load on `cpus` CPUs for `steps` events. Returns how many of the checks found a
/// thread that waited.
pub(crate) fn a_build_runs(cpus: usize, steps: u64) -> u64 {
    let mut world = World::new(1, cpus, 0, Habits::default());
    for script in scripts() {
        world.spawn_with(Nice::default(), script);
    }
    let mut waits = 0;
    for _ in 0..steps {
        world.step();
        checks::none_waits_in_vain(&world);
        checks::none_starves(&world);
        waits += u64::from(world.workers.iter().any(|it| it.queued_on.is_some()));
    }
    waits
}
