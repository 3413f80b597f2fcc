//! Which share of the CPUs each thread gets if it may not run anywhere.

use stillpoint::cpu::CpuMask;
use stillpoint::sched::{Class, Nice};

use crate::bound::fifo;
use crate::checks::SLICE;
use crate::driver::cpu;
use crate::platform::NEVER;
use crate::shares::{SECOND, each_second, slack, weight};
use crate::world::{Habits, MS, World};
use crate::xorshift::Random;

/// A thread that computes for ever: its niceness, and the CPUs on which it may run, as bits.
pub(crate) type Busy = (i8, u32);

/// Returns for how long each thread should run in a second: the max-min fair shares. All
/// shares grow from 0 in the ratio of the weights, until those of the threads that may run on
/// some set of CPUs only fill that set, or until one has a whole CPU; these shares stay.
pub(crate) fn max_min(cpus: usize, threads: &[Busy]) -> Vec<f64> {
    let mut shares: Vec<Option<f64>> = vec![None; threads.len()];
    while shares.contains(&None) {
        let open = |at: &usize| shares[*at].is_none();
        let all = || 0..threads.len();
        let mut least = (f64::INFINITY, Vec::new());
        for at in all().filter(open) {
            let level = 1.0 / weight(threads[at].0);
            if level < least.0 {
                least = (level, vec![at]);
            }
        }
        for set in 1..1_u32 << cpus {
            let within = all().filter(|at| threads[*at].1 & !set == 0);
            let (open, full): (Vec<_>, Vec<_>) = within.partition(open);
            let full: f64 = full.iter().filter_map(|at| shares[*at]).sum();
            let sum: f64 = open.iter().map(|at| weight(threads[*at].0)).sum();
            let level = (f64::from(set.count_ones()) - full).max(0.0) / sum;
            if !open.is_empty() && level < least.0 {
                least = (level, open);
            }
        }
        let (level, fixed) = least;
        for at in fixed {
            shares[at] = Some(level * weight(threads[at].0));
        }
    }
    let second = |share: Option<f64>| share.expect("it was fixed") * SECOND as f64;
    shares.into_iter().map(second).collect()
}

fn mask(bits: u32) -> CpuMask {
    let cpus = (0..32).filter(|index| bits & 1 << index != 0);
    cpus.map(cpu).collect()
}

/// Starts `threads` on a machine of `cpus` CPUs.
fn start(seed: u64, cpus: usize, threads: &[Busy]) -> World {
    let mut world = World::new(seed, cpus, 0, Habits::default());
    for (nice, bits) in threads {
        let nice = Nice::new(*nice).expect("-20 to 19");
        world.spawn_as(Class::Normal, nice, mask(*bits));
        world.workers.last_mut().expect("a CPU is up").left = NEVER;
    }
    world
}

/// Checks that equal threads that may run on parts of the CPUs only get their max-min fair
/// shares, within [`slack`] (`equals-are-max-min-fair` of `sched::fair`). So those with the
/// same CPUs get equal time, and what some may not use the others get.
pub(crate) fn equals_share_what_they_may_use(seed: u64) {
    let mut random = Random::new(seed);
    let (cpus, count) = (1 + random.below(6), 1 + random.below(24));
    let all = (1 << cpus) - 1;
    let bits = |_| match random.below(2) {
        0 => all,
        _ => 1 + u32::try_from(random.below(all as usize)).expect("six bits"),
    };
    let threads: Vec<Busy> = (0..count).map(bits).map(|bits| (0, bits)).collect();
    let fair = max_min(cpus, &threads);
    for ran in each_second(&mut start(seed, cpus, &threads), 3) {
        for (at, (ran, fair)) in ran.iter().zip(&fair).enumerate() {
            let off = (*ran as f64 - fair).abs();
            assert!(
                off <= slack(*fair),
                "{:?} of {threads:?} on {cpus} CPUs has run for {ran} of {fair:.0} ns",
                threads[at]
            );
        }
    }
}

/// Checks that equal threads get equal time if a realtime thread takes a part of one CPU, time
/// and again for less than a slice. They differ by no more than 10 % and two slices,
/// which are what a thread must be behind to leave a CPU that is no more loaded than others.
pub(crate) fn equals_share_what_is_left(seed: u64) {
    let mut random = Random::new(seed);
    let cpus = 1 + random.below(6);
    let count = cpus * (1 + random.below(3)) + 1 + random.below(cpus);
    let part = 1 + random.below(6) as u64;
    let anywhere = (1 << cpus) - 1;
    let mut world = start(seed, cpus, &vec![(0, anywhere); count]);
    world.spawn_as(fifo(10), Nice::default(), mask(1));
    let realtime = world.workers.last_mut().expect("a CPU is up");
    realtime.set_script(vec![(part * MS, (10 - part) * MS)]);
    for mut ran in each_second(&mut world, 3) {
        ran.pop();
        let (least, most) = (ran.iter().min(), ran.iter().max());
        let (least, most) = (least.expect("a thread"), most.expect("a thread"));
        let mean = ran.iter().sum::<u64>() / count as u64;
        assert!(
            most - least <= mean / 10 + 2 * SLICE,
            "{count} threads on {cpus} CPUs, of which {part} tenths of one are taken, have run for {least} to {most} ns: {ran:?}"
        );
    }
}
