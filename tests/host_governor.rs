//! The governor's policy on a model of a machine: under constant, periodic, random and recorded
//! loads, with CPUs that don't come or don't go. Each property is one that `src/governor/mod.rs`
//! states.

#[path = "host_governor/loads.rs"]
mod loads;
#[path = "host_governor/world.rs"]
mod world;
#[path = "support/xorshift.rs"]
mod xorshift;

use core::time::Duration;

use loads::{Threads, random_jobs};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::governor::{REGRET, Reason, Tunables};
use world::{MS, Made, S, US, World};
use xorshift::Random;

/// What the model's steps and the time until the thread runs add to a latency.
const SLACK: u64 = 60 * US;

fn default_world(cpus: usize) -> World {
    World::new(cpus, Tunables::new(cpus))
}

/// Checks what holds for each change (`changes-apart`).
fn check_changes(world: &World) {
    let limit = world.policy.tunables().rate_limit.as_nanos();
    for pair in world.made.windows(2) {
        let between = u128::from(pair[1].began - pair[0].ended);
        assert!(between >= limit, "{pair:?}: {between} ns apart");
    }
}

/// Returns the changes that begin from `since` on.
fn since(world: &World, since: u64) -> Vec<Made> {
    let made = world.made.iter().copied();
    made.filter(|made| made.began >= since).collect()
}

#[test]
fn at_the_floor_an_idle_machine_rests() {
    let mut world = default_world(8);
    world.run(10 * MS);
    assert!(world.rests());
    let looks = world.looks;
    world.run(10 * S);
    assert_eq!(world.looks, looks);
    // One thread that computes needs no other CPU.
    world.start(u64::MAX, 0);
    world.run(S);
    assert_eq!((world.looks, world.count()), (looks, 1));
}

#[test]
fn from_rest_cpus_come_within_the_bound() {
    for cpus in [2, 4, 20, 512] {
        let mut world = default_world(cpus);
        world.run(200 * MS + 13 * US);
        for _ in 0..cpus + 3 {
            world.start(u64::MAX, 0);
        }
        let began = world.now;
        world.run(5 * MS);
        let [first, ..] = world.made[..] else {
            panic!("no change on {cpus} CPUs");
        };
        assert_eq!((first.reason, first.to), (Reason::Waiting, cpus));
        assert!(first.began - began <= MS + SLACK, "{first:?}");
        assert_eq!(world.count(), cpus);
    }
}

#[test]
fn from_any_state_cpus_come_within_the_bound() {
    // The samples fall differently each time.
    for phase in 0..60 {
        let mut world = default_world(8);
        let mut light = Threads::of_period(3, 300 * US, MS);
        world.start(u64::MAX, 100);
        world.start(u64::MAX, 100);
        light.run(&mut world, 300 * MS + phase * 37 * US);
        for _ in 0..8 {
            world.start(u64::MAX, 100);
        }
        let began = world.now;
        light.run(&mut world, 6 * MS);
        let made = since(&world, began);
        let grown = made.iter().find(|made| made.to > made.from);
        let grown = grown.unwrap_or_else(|| panic!("phase {phase}: {made:?}"));
        let limit = MS + 3 * MS / 2 + MS + SLACK;
        assert!(grown.began - began <= limit, "phase {phase}: {grown:?}");
        check_changes(&world);
    }
}

#[test]
fn after_the_end_of_a_burst_cpus_go_within_the_bound() {
    for phase in 0..60 {
        let mut world = default_world(8);
        world.run(200 * MS);
        for _ in 0..9 {
            world.start(u64::MAX, 0);
        }
        world.run(50 * MS + phase * 37 * US);
        assert_eq!(world.count(), 8);
        world.end_all();
        let ended = world.now;
        world.run(10 * MS);
        // A sample that was busy for a part needs some of them.
        let made = since(&world, ended);
        let gone = made.len() <= 2 && world.count() == 1;
        assert!(gone, "phase {phase}: {made:?}");
        let idle = |made: &Made| made.reason == Reason::Idle && made.to < made.from;
        assert!(made.iter().all(idle));
        let [first, last] = [0, made.len() - 1].map(|nth| made[nth].began - ended);
        assert!(first <= 7 * MS + SLACK, "phase {phase}: {made:?}");
        assert!(last <= 8 * MS + 200 * US + SLACK, "phase {phase}: {made:?}");
        assert!(world.rests());
    }
}

/// A burst that ends thread by thread.
#[test]
fn cpus_go_as_the_threads_of_a_burst_end() {
    let mut world = default_world(8);
    world.run(200 * MS);
    for nth in 0..8 {
        world.start(50 * MS + nth * 400 * US, 0);
    }
    world.run(54 * MS);
    let last = world.now;
    world.run(8 * MS);
    assert_eq!(world.count(), 1, "{:?}", world.made);
    let after = world.made.last().expect("they went").ended;
    assert!(after <= last + 8 * MS);
    check_changes(&world);
}

/// `dead-band`: a constant load changes the number once in each direction.
#[test]
fn a_constant_load_changes_little() {
    for cpus in [2, 4, 8, 20] {
        for threads in 0..2 * cpus {
            let mut world = default_world(cpus);
            world.run(100 * MS);
            for _ in 0..threads {
                world.start(u64::MAX, 0);
            }
            world.run(5 * S);
            let made = &world.made;
            assert!(
                made.len() <= 2,
                "{threads} threads on {cpus} CPUs: {made:?}"
            );
            let settled = made.iter().all(|made| made.ended < 200 * MS);
            assert!(settled, "{threads} threads on {cpus} CPUs: {made:?}");
            // The governor's own time, in which a thread has no CPU, brings none.
            let most = world.made.iter().map(|made| made.to).max().unwrap_or(1);
            assert!(
                most <= threads.clamp(1, cpus),
                "{threads} threads: {most} CPUs"
            );
            assert!(world.count() >= threads.min(cpus));
        }
    }
}

/// Threads that compute for a part of each period, at any level of load.
#[test]
fn a_periodic_load_settles() {
    for cpus in [2, 4] {
        for period in [500 * US, 3 * MS, 16 * MS] {
            for percent in (10..=100).step_by(15) {
                let busy = period * percent / 100;
                let mut world = default_world(cpus);
                let mut threads = Threads::of_period(cpus + 1, busy, period);
                threads.run(&mut world, S);
                let settled = world.now;
                threads.run(&mut world, 2 * S);
                let changes = since(&world, settled).len();
                assert!(
                    changes <= 4,
                    "{percent} % of {period} ns on {cpus} CPUs: {changes} changes"
                );
                check_changes(&world);
            }
        }
    }
}

/// `regret-doubles`: a random load of a steady level. Jobs that are short beside the regret change
/// next to nothing; of long ones each two that meet are a burst.
#[test]
fn a_random_load_changes_seldom() {
    let mut random = Random::new(16);
    for (mean, most_changes) in [(200 * US, 6), (2 * MS, 6), (40 * MS, 60)] {
        for load in [60, 120, 250, 350] {
            let mut world = default_world(4);
            random_jobs(&mut world, &mut random, load, mean, 3 * S);
            let settled = world.now;
            random_jobs(&mut world, &mut random, load, mean, 3 * S);
            let changes = since(&world, settled).len();
            assert!(
                changes <= most_changes,
                "{load} %, jobs of {mean} ns: {changes} changes in 3 s"
            );
            check_changes(&world);
        }
    }
}

/// A load that is there whenever a CPU is missing, and ends when one has come, for as long as it
/// chooses: no load has more changes. Before the first reset of the hold each pair of changes
/// takes as long as the hold; each reset takes [`REGRET`].
#[test]
fn changes_are_rare_for_any_load() {
    const TIME: u64 = 10 * S;
    // A hold of 5 ms and a regret each, or two holds of 5 and 10 ms with one regret.
    const MOST: usize = (TIME / REGRET) as usize * 4 + 20;
    for away in [MS, 20 * MS, 99 * MS, 101 * MS, 161 * MS, 400 * MS] {
        for mixed in [false, true] {
            let mut world = default_world(2);
            let mut cycle = 0;
            while world.now < TIME {
                world.start(u64::MAX, 0);
                world.start(u64::MAX, 0);
                while world.count() == 1 {
                    world.run(100 * US);
                }
                world.end_all();
                while world.count() == 2 {
                    world.run(100 * US);
                }
                let long = mixed && cycle % 2 == 0;
                world.run(if long { REGRET + MS } else { away });
                cycle += 1;
            }
            let changes = world.made.len();
            assert!(
                changes <= MOST,
                "away {away} ns, {mixed}: {changes} changes"
            );
            check_changes(&world);
        }
    }
}

#[test]
fn a_build_has_cpus_come_and_go_within_the_bounds() {
    for (cpus, hurry) in [(2, 25), (4, 5), (8, 25)] {
        let mut world = default_world(cpus);
        Threads::of_build(hurry).run(&mut world, 3 * S);
        let changes = world.made.len();
        assert!((1..60).contains(&changes), "{cpus} CPUs: {changes} changes");
        check_changes(&world);
    }
}

#[test]
fn any_settings_keep_their_bounds() {
    let mut random = Random::new(7);
    for _ in 0..40 {
        let cpus = 1 + random.below(20);
        let min_cpus = 1 + random.below(cpus);
        let mut time = |least: u64| Duration::from_micros(least + 100 * random.below(80) as u64);
        let tunables = Tunables {
            up_wait: time(100),
            down_delay: time(100),
            sampling_rate: time(100),
            rate_limit: time(0),
            ..Tunables::new(cpus)
        };
        let tunables = Tunables {
            min_cpus,
            max_cpus: min_cpus + random.below(cpus - min_cpus + 1),
            target_busy: 10 + u8::try_from(random.below(81)).expect("small"),
            ..tunables
        };
        let mut world = World::new(cpus, tunables);
        for _ in 0..6 {
            // Its steps check the bounds.
            let load = 10 + random.below(130 * cpus);
            random_jobs(&mut world, &mut random, load, 3 * MS, 100 * MS);
            world.end_all();
            world.run(30 * MS);
        }
        check_changes(&world);
    }
}

/// `refused-backs-off`: a CPU that doesn't come is asked seldom, and others come.
#[test]
fn a_cpu_that_does_not_come_is_asked_seldom() {
    let mut world = default_world(4);
    let second = CpuId::new(1).expect("small");
    world.stubborn = CpuMask::of(second);
    world.run(100 * MS);
    for _ in 0..6 {
        world.start(u64::MAX, 0);
    }
    world.run(20 * S);
    assert_eq!(world.count(), 3);
    let failed = world.made.iter().filter(|made| made.to != made.wanted);
    let failed = failed.count();
    // 10 ms, 20 ms, and so on, up to 10 s.
    assert!((5..=12).contains(&failed), "asked {failed} times");
    check_changes(&world);
    // It comes when it can.
    world.stubborn = CpuMask::EMPTY;
    world.run(11 * S);
    assert_eq!(world.count(), 4);
}

/// It rests while the only CPU that may come has refused, and listens again afterwards.
#[test]
fn a_burst_that_ends_before_a_cpu_may_be_asked_again_is_not_the_last() {
    let mut world = default_world(2);
    world.stubborn = CpuMask::first_n(2);
    world.run(100 * MS);
    for _ in 0..4 {
        world.start(u64::MAX, 0);
    }
    world.run(2 * MS);
    assert_eq!(world.made.len(), 1, "the CPU was asked");
    world.end_all();
    world.stubborn = CpuMask::EMPTY;
    world.run(S);
    assert!(world.rests());
    let looks = world.looks;
    world.run(10 * S);
    assert_eq!(world.looks, looks);
    for _ in 0..4 {
        world.start(u64::MAX, 0);
    }
    world.run(5 * MS);
    assert_eq!(world.count(), 2);
}

/// As a step that vetoes, or a thread that is bound.
#[test]
fn a_cpu_that_does_not_go_is_asked_seldom() {
    let mut world = default_world(4);
    world.run(100 * MS);
    for _ in 0..6 {
        world.start(u64::MAX, 0);
    }
    world.run(50 * MS);
    world.stubborn = CpuMask::first_n(4).without(&CpuMask::first_n(2));
    world.end_all();
    world.run(20 * S);
    assert_eq!(world.count(), 2, "CPU 1 goes, and CPU 0 may");
    let failed = world.made.iter().filter(|made| made.to != made.wanted);
    let failed = failed.count();
    assert!((5..=14).contains(&failed), "asked {failed} times");
    check_changes(&world);
    world.stubborn = CpuMask::EMPTY;
    world.run(11 * S);
    assert_eq!(world.count(), 1);
}

#[test]
fn what_an_operator_took_away_is_not_missed() {
    let mut world = default_world(4);
    let third = CpuId::new(2).expect("small");
    world.take_away(third);
    for _ in 0..6 {
        world.start(u64::MAX, 0);
    }
    world.run(5 * S);
    assert_eq!((world.count(), world.made.len()), (3, 1));
}
