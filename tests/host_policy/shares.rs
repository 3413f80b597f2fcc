//! Which share of the CPUs each thread gets under a steady load: threads that all compute
//! for ever, and may run anywhere.

use stillpoint::sched::Nice;

use crate::checks::SLICE;
use crate::platform::machine;
use crate::world::{Habits, MS, US, World};

/// A second, in ticks.
pub(crate) const SECOND: u64 = 1000 * MS;

/// How many of the seconds that are looked at begin in one second.
const STEPS: u32 = 50;

/// Returns the weight of a niceness: 1024 for 0, and 1.25 times as much for each step down.
pub(crate) fn weight(nice: i8) -> f64 {
    1024.0 * 1.25_f64.powi(-i32::from(nice))
}

/// Returns for how long each thread should run in a second: its share by weight, but no
/// more than one CPU.
fn ideal(cpus: usize, nices: &[i8]) -> Vec<f64> {
    let mut capped = vec![false; nices.len()];
    loop {
        let full = capped.iter().filter(|capped| **capped).count();
        let free = cpus as f64 - full as f64;
        let open = nices.iter().zip(&capped).filter(|(_, capped)| !**capped);
        let sum: f64 = open.map(|(nice, _)| weight(*nice)).sum();
        let share = |nice: i8| weight(nice) / sum * free;
        let over = (0..nices.len()).find(|at| !capped[*at] && share(nices[*at]) > 1.0);
        match over {
            Some(at) => capped[at] = true,
            None => {
                let of = |(nice, capped): (&i8, &bool)| if *capped { 1.0 } else { share(*nice) };
                let shares = nices.iter().zip(&capped).map(of);
                return shares.map(|share| share * SECOND as f64).collect();
            }
        }
    }
}

/// Runs a thread of each niceness on `cpus` CPUs. Returns for how long each has run in each
/// of many seconds, which overlap and begin after the first.
fn run(seed: u64, cpus: usize, nices: &[i8], seconds: u64) -> Vec<Vec<u64>> {
    let mut world = World::new(seed, cpus, 0, Habits::default());
    for nice in nices {
        world.spawn_busy(Nice::new(*nice).expect("-20 to 19"));
    }
    each_second(&mut world, seconds)
}

/// Lets `world` run. Returns for how long each thread has run in each of many seconds, which
/// overlap and begin after the first.
pub(crate) fn each_second(world: &mut World, seconds: u64) -> Vec<Vec<u64>> {
    let begin = World::now() + SECOND;
    world.run_until(begin);
    let mut at = vec![world.run_times()];
    for step in 1..=seconds * u64::from(STEPS) {
        world.run_until(begin + step * (SECOND / u64::from(STEPS)));
        at.push(world.run_times());
    }
    let second = |(before, after): (&Vec<u64>, &Vec<u64>)| {
        let ran = after
            .iter()
            .zip(before)
            .map(|(after, before)| after - before);
        ran.collect()
    };
    at.iter()
        .zip(at.iter().skip(STEPS as usize))
        .map(second)
        .collect()
}

/// Returns by how much the times of equal threads may differ in a second if their mean is
/// `mean`: a slice and 5 %.
pub(crate) fn slack(mean: f64) -> f64 {
    SLICE as f64 + mean / 20.0
}

/// By how much timer interrupts are late at most.
const LATE: u64 = 20 * US;

/// Checks that equal threads, of niceness `nice`, get equal time: over each second they
/// differ by no more than [`slack`].
pub(crate) fn equals_get_equal_time(seed: u64, cpus: usize, threads: usize, nice: i8) {
    let seconds = run(seed, cpus, &vec![nice; threads], 3);
    differ_by_at_most(slack, cpus, nice, &seconds);
}

/// Does as [`equals_get_equal_time`] with slices that end at different times on the CPUs, and
/// a little late. The threads then differ by up to two slices, if that is more than
/// [`slack`], and by what is too late.
pub(crate) fn equals_get_equal_time_if_late(seed: u64, cpus: usize, threads: usize, nice: i8) {
    let mut world = World::new(seed, cpus, 0, Habits::default());
    let most = usize::try_from(LATE).expect("it is short");
    machine().come_late(seed, most);
    for _ in 0..threads {
        world.spawn_busy(Nice::new(nice).expect("-20 to 19"));
        world.settle();
        let next = World::now() + world.random.below(4000) as u64 * US;
        world.run_until(next);
    }
    let bound = |mean| slack(mean).max((2 * SLICE + 10 * LATE) as f64);
    differ_by_at_most(bound, cpus, nice, &each_second(&mut world, 3));
}

/// Checks that the times of threads of niceness `nice` differ in each of `seconds` by no more
/// than `bound_fn` returns for their mean.
fn differ_by_at_most(bound_fn: impl Fn(f64) -> f64, cpus: usize, nice: i8, seconds: &[Vec<u64>]) {
    for ran in seconds {
        let (least, most) = (ran.iter().min(), ran.iter().max());
        let (least, most) = (least.expect("a thread"), most.expect("a thread"));
        let (threads, sum) = (ran.len(), ran.iter().sum::<u64>());
        assert!(
            (most - least) as f64 <= bound_fn(sum as f64 / threads as f64),
            "{threads} threads of niceness {nice} on {cpus} CPUs have run for {least} to {most} ns: {ran:?}"
        );
    }
}

/// Checks that each thread gets its share by weight, as far as that is promised (`weights-hold`
/// of `sched::fair`).
pub(crate) fn weights_hold(seed: u64, cpus: usize, nices: &[i8]) {
    let ideal = ideal(cpus, nices);
    let within = |reach: i8| nices.iter().all(|nice| nice.abs() <= reach);
    let (slice, close, near) = (SLICE as f64, within(5), within(10));
    for ran in run(seed, cpus, nices, 3) {
        for ((ran, ideal), nice) in ran.iter().zip(&ideal).zip(nices) {
            let ran = *ran as f64;
            let off = (ran - ideal).abs();
            let holds = if close {
                off <= ideal / 10.0 + slice
            } else if near {
                off <= ideal / 5.0 + 2.0 * slice
            } else {
                ran >= ideal / 4.0 - 2.0 * slice
            };
            assert!(
                holds,
                "a thread of niceness {nice} of {nices:?} on {cpus} CPUs has run for {ran} of {ideal:.0} ns"
            );
        }
    }
}

/// Checks that a thread that comes after a long time, and has had nothing so far, has one
/// CPU for no more than a few slices before the other has it again.
pub(crate) fn a_newcomer_has_no_long_turn() {
    let mut world = World::new(1, 1, 0, Habits::default());
    world.spawn_busy(Nice::default());
    world.run_until(10 * SECOND);
    world.spawn_busy(Nice::default());
    world.run_until(10 * SECOND + 5 * SLICE);
    let ran = world.run_times()[0] - 10 * SECOND;
    assert!(ran >= SLICE, "the other has run for {ran} ns in 5 slices");
}

/// Checks that threads which begin beside another have had as much time as that one since, within
/// a slice: they have not waited before, so they are owed nothing.
pub(crate) fn newcomers_are_owed_nothing() {
    let mut world = World::new(1, 1, 0, Habits::default());
    world.spawn_busy(Nice::default());
    world.run_until(SECOND);
    for _ in 0..2 {
        world.spawn_busy(Nice::default());
    }
    for slices in 1..30 {
        world.run_until(SECOND + slices * SLICE);
        let mut ran = world.run_times();
        ran[0] -= SECOND;
        let (least, most) = (ran.iter().min(), ran.iter().max());
        let apart = most.expect("a thread") - least.expect("a thread");
        assert!(apart <= SLICE + MS, "after {slices} slices: {ran:?} ns");
    }
}

/// Checks that a thread that yields waits for its equal, and not for a nice thread that has
/// had more than its share. If that is the only other one, it has the CPU all the same.
pub(crate) fn a_yield_waits_for_equals() {
    let mut world = World::new(1, 1, 0, Habits::default());
    for nice in [0, 0, 19] {
        world.spawn_busy(Nice::new(nice).expect("-20 to 19"));
    }
    let mut at = 0;
    let mut until = |world: &mut World, runs: usize| {
        while world.workers[runs].on.is_none() {
            assert!(at < SECOND, "thread {runs} doesn't run");
            at += MS;
            world.run_until(at);
        }
    };
    // Now the nice one has used a second's share in one slice.
    until(&mut world, 2);
    until(&mut world, 0);
    let before = world.run_times();
    world.have_it_yield(0);
    until(&mut world, 0);
    let ran = world.run_times()[1] - before[1];
    assert!(
        (MS..=2 * SLICE).contains(&ran),
        "the equal thread has run for {ran} ns before the one that yields ran again"
    );
    // Two that yield to each other get out of the way of the third.
    let nice_ran = world.run_times()[2];
    for _ in 0..200 {
        let runs = (0..2).find(|it| world.workers[*it].on.is_some());
        let Some(runs) = runs else { break };
        world.have_it_yield(runs);
    }
    world.run_until(World::now() + MS);
    assert!(
        world.run_times()[2] > nice_ran,
        "the nice thread waits for ever"
    );
}

/// Checks that a thread that sleeps often gets no more than its share beside one that
/// computes for ever.
pub(crate) fn short_sleeps_gain_nothing(nice: i8) {
    let mut world = World::new(1, 1, 0, Habits::default());
    world.spawn_busy(Nice::default());
    let nice = Nice::new(nice).expect("-20 to 19");
    world.spawn_with(nice, vec![(2 * MS, MS / 10)]);
    world.run_until(SECOND);
    let before = world.run_times()[1];
    world.run_until(11 * SECOND);
    let ran = world.run_times()[1] - before;
    let share = 10.0 * ideal(1, &[0, nice.get()])[1];
    assert!(
        ran as f64 <= share * 1.05 + SLICE as f64,
        "a sleeper of niceness {nice} has run for {ran} ns, its share is {share:.0} ns"
    );
}

/// Checks that a heavy thread that has slept for a second goes before a light one by a
/// slice, and not by a slice's virtual runtime, which is 87 slices for it.
pub(crate) fn a_heavy_sleeper_has_no_long_turn() {
    let mut world = World::new(1, 1, 0, Habits::default());
    world.spawn_busy(Nice::default());
    world.spawn_with(Nice::MIN, vec![(MS, SECOND), (SECOND, MS)]);
    let wakes = World::now() + SECOND + 10 * SLICE;
    world.run_until(wakes);
    // By now the light one has had a slice since the other woke. For a slice of its own it
    // owes the heavy one 87.
    let before = world.run_times()[0];
    world.run_until(wakes + 100 * SLICE);
    let ran = world.run_times()[0] - before;
    assert!(ran > 0, "the light one has not run in 100 slices");
}

/// Checks that a thread that ran while the machine stood still for an hour, as a guest that is
/// paused does, doesn't wait for an hour for its next turn.
pub(crate) fn a_pause_costs_no_long_wait() {
    let mut world = World::new(1, 2, 0, Habits::default());
    for _ in 0..5 {
        world.spawn_busy(Nice::default());
    }
    world.run_until(SECOND);
    machine().now.set(World::now() + 3600 * SECOND);
    world.run_until(World::now() + SECOND);
    let before = world.run_times();
    world.run_until(World::now() + SECOND);
    for (after, before) in world.run_times().iter().zip(&before) {
        let ran = after - before;
        assert!(
            ran.abs_diff(2 * SECOND / 5) <= SLICE + SECOND / 50,
            "a thread has run for {ran} ns of the second"
        );
    }
}
