//! Which share of the CPUs each thread gets if it may not run anywhere.

use std::sync::Arc;

use stillpoint::cpu::CpuMask;
use stillpoint::sched::{Class, Nice};

use crate::bound::{busy, fifo, round_robin};
use crate::checks::SLICE;
use crate::driver::{act, cpu, sched};
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

/// Checks that equal threads, of niceness `nice`, that may run on parts of the CPUs only get their max-min fair
/// shares, within [`slack`] (`equals-are-max-min-fair` of `sched::fair`). So those with the
/// same CPUs get equal time, and what some may not use the others get.
pub(crate) fn equals_share_what_they_may_use(seed: u64, nice: i8) {
    let mut random = Random::new(seed);
    let (cpus, count) = (1 + random.below(6), 1 + random.below(24));
    let all = (1 << cpus) - 1;
    let bits = |_| match random.below(2) {
        0 => all,
        _ => 1 + u32::try_from(random.below(all as usize)).expect("six bits"),
    };
    let threads: Vec<Busy> = (0..count).map(bits).map(|bits| (nice, bits)).collect();
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

/// A realtime thread: its class, the CPUs on which it may run, as bits, and for how long it
/// computes and then sleeps, time and again.
type Realtime = (Class, u32, u64, u64);

/// Checks that equal threads, of niceness `nice`, get equal time if a realtime thread takes a part of the machine,
/// for less than a slice at a time or for longer.
pub(crate) fn equals_share_what_is_left(seed: u64, nice: i8) {
    let mut random = Random::new(seed);
    let cpus = 1 + random.below(6);
    let count = 1 + random.below(4 * cpus);
    let class = [fifo(10), round_robin(10)][random.below(2)];
    let on = [1, (1 << cpus) - 1][random.below(2)];
    let tenth = [MS / 10, MS / 2, MS, 4 * MS][random.below(4)];
    let part = 1 + random.below(6) as u64;
    let realtime = (class, on, part * tenth, (10 - part) * tenth);
    share_what_is_left(seed, cpus, (count, nice), &[realtime]);
}

/// Checks the same with a thread for each CPU: none waits but the one beside the realtime
/// thread.
pub(crate) fn equals_share_a_cpu_each() {
    for cpus in 2..=4 {
        for class in [fifo(10), round_robin(10)] {
            for (computes, sleeps) in [(MS, 4 * MS), (3 * MS, 2 * MS), (30 * MS, 5 * MS)] {
                let realtime = (class, 1, computes, sleeps);
                share_what_is_left(1, cpus, (cpus, 0), &[realtime]);
            }
        }
    }
}

/// Checks the same beside several realtime threads: in step, or each in its own rhythm if no
/// ordinary thread can find a CPU for itself.
pub(crate) fn equals_share_what_several_leave(seed: u64, nice: i8) {
    let mut random = Random::new(seed);
    let cpus = 1 + random.below(6);
    let in_step = random.below(2) == 0;
    let count = if in_step { 1 } else { cpus + 1 } + random.below(3 * cpus);
    let class = [fifo(10), round_robin(10)][random.below(2)];
    let some = 1 + random.below(cpus);
    let anywhere = in_step && random.below(2) == 0;
    let mut rhythm = || {
        let tenth = [MS / 10, MS / 2, MS, 4 * MS][random.below(4)];
        let part = 1 + random.below(6) as u64;
        (part * tenth, (10 - part) * tenth)
    };
    let together = rhythm();
    let of_cpu = |index: usize| {
        let on = if anywhere {
            (1 << cpus) - 1
        } else {
            1 << index
        };
        let (computes, sleeps) = if in_step { together } else { rhythm() };
        (class, on, computes, sleeps)
    };
    let realtime: Vec<Realtime> = (0..some).map(of_cpu).collect();
    share_what_is_left(seed, cpus, (count, nice), &realtime);
}

/// Checks the same with four threads for each CPU, and realtime threads in step on all CPUs but
/// one: that one must not take the threads of the others that are ahead.
pub(crate) fn equals_share_with_one_cpu_free() {
    for cpus in [5, 6] {
        for tenth in [MS, 2 * MS, 4 * MS] {
            for part in [3, 5, 6] {
                let realtime =
                    |index| (fifo(10), 1_u32 << index, part * tenth, (10 - part) * tenth);
                let realtime: Vec<Realtime> = (0..cpus - 1).map(realtime).collect();
                share_what_is_left(1, cpus, (4 * cpus, 10), &realtime);
            }
        }
    }
}

/// Checks that equal threads, of niceness `nice`, that sleep before their slices end, all in the
/// same way, get equal time, within [`slack`].
pub(crate) fn equals_that_sleep_share(seed: u64, nice: i8) {
    let mut random = Random::new(seed);
    let cpus = 1 + random.below(6);
    // So many that they want more than all CPUs.
    let count = cpus + 1 + cpus / 2 + random.below(2 * cpus);
    let computes = [MS / 10, MS, 3 * MS, 4 * MS, 10 * MS][random.below(5)];
    let sleeps = computes / [4, 10, 20][random.below(3)];
    sleepers_share(seed, cpus, (count, nice), (computes, sleeps), slack);
}

/// Checks that equal threads, of niceness `nice`, that sleep, of which there may be hardly more
/// than keep all CPUs busy, differ by no more than 20 % and two slices.
pub(crate) fn few_equals_that_sleep_share(seed: u64, nice: i8) {
    let mut random = Random::new(seed);
    let cpus = 1 + random.below(20);
    let longest = [20, 200][random.below(2)];
    let computes = MS / 10 * (1 + random.below(longest) as u64);
    let part = [2, 3, 4, 10, 20, 50][random.below(6)];
    let count = cpus + cpus / part + 1 + random.below(2 * cpus);
    let script = (computes, computes / part as u64);
    sleepers_share(seed, cpus, (count, nice), script, loose(20));
}

/// Checks that equal threads that sleep get equal time with one thread more than there are for
/// each CPU, however heavy or light they are.
pub(crate) fn sleepers_share_if_one_cpu_has_one_more() {
    for (cpus, count) in [(2, 5), (3, 7), (4, 9)] {
        for script in [(MS, MS / 4), (3 * MS, MS)] {
            for nice in [-20, -10, 0, 5, 10, 19] {
                sleepers_share(1, cpus, (count, nice), script, slack);
            }
        }
    }
}

fn sleepers_share(
    seed: u64,
    cpus: usize,
    (count, nice): (usize, i8),
    script: (u64, u64),
    bound_fn: impl Fn(f64) -> f64,
) {
    let mut world = World::new(seed, cpus, 0, Habits::default());
    for _ in 0..count {
        world.spawn_with(Nice::new(nice).expect("-20 to 19"), vec![script]);
    }
    let what = format!("of niceness {nice} that compute and sleep for {script:?} ns");
    have_equal_time(&mut world, count, cpus, bound_fn, &what);
}

/// Checks that a number of equal threads, of a niceness, get equal time beside `realtime`.
fn share_what_is_left(seed: u64, cpus: usize, (count, nice): (usize, i8), realtime: &[Realtime]) {
    let mut world = start(seed, cpus, &vec![(nice, (1 << cpus) - 1); count]);
    for (class, on, computes, sleeps) in realtime {
        world.spawn_as(*class, Nice::default(), mask(*on));
        let thread = world.workers.last_mut().expect("a CPU is up");
        thread.set_script(vec![(*computes, *sleeps)]);
    }
    let what = format!("of niceness {nice} beside {realtime:?}");
    have_equal_time(&mut world, count, cpus, loose(10), &what);
}

/// Returns by how much times may differ: by `percent` of their mean and two slices, which are
/// what a thread must be behind to leave a CPU that is no more loaded than others.
fn loose(percent: u8) -> impl Fn(f64) -> f64 {
    move |mean| mean * f64::from(percent) / 100.0 + 2.0 * SLICE as f64
}

/// Checks that the times of the first `count` threads differ by no more than `bound_fn` returns
/// for their mean.
fn have_equal_time(
    world: &mut World,
    count: usize,
    cpus: usize,
    bound_fn: impl Fn(f64) -> f64,
    what: &str,
) {
    for mut ran in each_second(world, 3) {
        ran.truncate(count);
        let (least, most) = (ran.iter().min(), ran.iter().max());
        let (least, most) = (least.expect("a thread"), most.expect("a thread"));
        let mean = ran.iter().sum::<u64>() as f64 / count as f64;
        assert!(
            (most - least) as f64 <= bound_fn(mean),
            "{count} threads on {cpus} CPUs {what} have run for {least} to {most} ns: {ran:?}"
        );
    }
}

/// Has a thread that is ten slices ahead of those on another CPU wait behind a realtime thread.
/// It must stay as long as it is ahead (`behind-moves` of `sched::balance`), and no longer.
pub(crate) fn one_that_is_ahead_stays_behind_a_realtime_thread() {
    let mut world = start(1, 2, &[(0, 0b01), (0, 0b10), (0, 0b10)]);
    world.run_until(20 * SLICE);
    let thread = Arc::clone(&world.workers[0].thread);
    act(0, || sched().set_affinity(&thread, &mask(0b11))).expect("active CPUs");
    busy(&mut world, fifo(10), mask(0b01));
    world.run_until(World::now() + 10 * SLICE);
    assert_eq!(thread.cpu(), cpu(0), "it is still ahead");
    world.run_until(World::now() + 40 * SLICE);
    assert_eq!(thread.cpu(), cpu(1), "it is behind");
}
