//! Loads.

use core::time::Duration;

use crate::world::{US, World};
use crate::xorshift::Random;

/// What the threads of a build did, as the scheduler's test has it.
const BUILD: &str = include_str!("../host_policy/build.txt");

/// Threads that compute and sleep by turns.
pub(crate) struct Threads {
    /// For how long each computes and sleeps, again and again.
    scripts: Vec<Vec<(u64, u64)>>,
    /// At which place of its script each is, and when it goes on; `u64::MAX` while it computes.
    state: Vec<(usize, u64)>,
}

impl Threads {
    pub(crate) fn new(scripts: Vec<Vec<(u64, u64)>>) -> Threads {
        let state = scripts.iter().map(|_| (0, 0)).collect();
        Threads { scripts, state }
    }

    /// `threads` threads, each of which computes for `busy` of each `period`, at different times.
    pub(crate) fn of_period(threads: usize, busy: u64, period: u64) -> Threads {
        let mut all = Threads::new(vec![vec![(busy, period - busy)]; threads]);
        for (nth, (_, at)) in all.state.iter_mut().enumerate() {
            *at = period * nth as u64 / threads as u64;
        }
        all
    }

    /// The recorded threads; their sleeps are `hurry` times as short.
    pub(crate) fn of_build(hurry: u64) -> Threads {
        let lines = BUILD.lines().filter(|line| !line.starts_with('#'));
        let script = |line: &str| {
            let (_, bursts) = line.split_once(": ").expect("a name");
            let burst = |burst: &str| {
                let (computes, sleeps) = burst.split_once(',').expect("two times");
                let time = |text: &str| US * text.parse::<u64>().expect("a number");
                (time(computes), time(sleeps) / hurry)
            };
            bursts.split(' ').map(burst).collect()
        };
        Threads::new(lines.map(script).collect())
    }

    /// Runs `world` with these threads for `time`.
    pub(crate) fn run(&mut self, world: &mut World, time: u64) {
        let end = world.now + time;
        while world.now < end {
            for (nth, (place, at)) in self.state.iter_mut().enumerate() {
                if world.now >= *at {
                    let (computes, _) = self.scripts[nth][*place];
                    *at = u64::MAX;
                    world.start(computes.max(1), nth);
                }
            }
            let next = self.state.iter().map(|(_, at)| *at).min();
            world.step(next.unwrap_or(end).min(end));
            for &nth in &world.ended {
                let (place, at) = &mut self.state[nth];
                let (_, sleeps) = self.scripts[nth][*place];
                *at = world.now + sleeps;
                *place = (*place + 1) % self.scripts[nth].len();
            }
        }
    }
}

/// Runs `world` for `time` with jobs that come at random: on average so many that `load` hundredths
/// of a CPU are busy, each of which computes for `mean` on average.
pub(crate) fn random_jobs(
    world: &mut World,
    random: &mut Random,
    load: usize,
    mean: u64,
    time: u64,
) {
    let end = world.now + time;
    // Times of exponential distribution.
    let mut sample = |mean: u64| {
        let uniform = (random.below(1 << 20) + 1) as f64 / f64::from(1 << 20);
        let time = Duration::from_nanos(mean).mul_f64(-uniform.ln());
        u64::try_from(time.as_nanos()).expect("it is short")
    };
    let between = mean * 100 / load as u64;
    let mut next = world.now;
    while world.now < end {
        while world.now >= next {
            next += sample(between);
            let time = sample(mean).max(1);
            world.start(time, 0);
        }
        world.step(next.min(end));
    }
}
