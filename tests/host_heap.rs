//! Properties of the heap's caches and depots, in front of an allocator that counts bytes.
//!
//! CPUs allocate and free each other's blocks at random, leave and come back, with more and
//! with less memory than they want. After each step every byte has one place, and every bound
//! holds. One thread plays all CPUs; `tests/loom_depots.rs` has what needs several.

#[path = "host_heap/world.rs"]
mod world;
#[path = "support/xorshift.rs"]
mod xorshift;

use stillpoint::cpu::CpuId;
use stillpoint::memory::{CHAINS_PER_CPU, CPUS_PER_GROUP, SizeClass};
use world::World;
use xorshift::Random;

/// More CPUs than a group has, and a last group that isn't full.
const CPUS: usize = CPUS_PER_GROUP + 2;

/// Memory for all that the CPUs ever want.
const ENOUGH: usize = 1 << 30;

fn any_class(random: &mut Random) -> SizeClass {
    let classes: Vec<SizeClass> = SizeClass::all().collect();
    classes[random.below(classes.len())]
}

/// Takes `steps` steps on a machine with `memory` bytes; returns how many requests failed.
fn run(seed: u64, memory: usize, steps: usize) -> usize {
    let mut random = Random::new(seed);
    let mut world = World::new(CPUS, memory);
    let mut failed = 0;
    // Few classes at a time, so that magazines and depots fill up; and phases in which most
    // steps allocate, or most free.
    let (mut class, mut allocates) = (any_class(&mut random), 5);
    for _ in 0..steps {
        let cpu = world.any_online(random.below(CPUS));
        match random.below(1000) {
            0..10 => class = any_class(&mut random),
            10..15 => allocates = 2 + random.below(7),
            15..20 => world.leave(cpu),
            20..30 => world.come(random.below(CPUS)),
            30..35 => world.drain(|world| {
                for _ in 0..40 {
                    let cpu = world.any_online(random.below(CPUS));
                    world.free(cpu, random.below(1 << 20));
                }
            }),
            other if other % 10 < allocates => {
                failed += usize::from(!world.allocate(cpu, class));
            }
            _ => world.free(cpu, random.below(1 << 20)),
        }
        world.check();
    }
    world.end();
    failed
}

#[test]
fn every_byte_has_one_place() {
    for seed in 1..=20 {
        let failed = run(seed, ENOUGH, 20_000);
        assert_eq!(failed, 0, "seed {seed}");
    }
}

#[test]
fn what_is_short_is_found_in_depots() {
    let failed: usize = (1..=20).map(|seed| run(seed, 16 * 1024, 20_000)).sum();
    assert!(failed > 0, "memory was never short");
}

/// Has each of the first `sources` CPUs allocate `blocks` blocks of each class, which the CPU
/// that is `distance` further then frees. Returns how often the shared lock was taken in later
/// rounds, for a thousand pairs.
fn takings(cpus: usize, sources: usize, distance: usize, blocks: usize) -> u64 {
    const ROUNDS: usize = 20;
    let mut world = World::new(cpus, ENOUGH);
    let mut begun = 0;
    for round in 0..2 * ROUNDS {
        if round == ROUNDS {
            begun = world.takings();
        }
        for source in 0..sources {
            let cpu = CpuId::new(source).expect("few");
            for class in SizeClass::all() {
                for _ in 0..blocks {
                    assert!(world.allocate(cpu, class));
                }
            }
        }
        for source in 0..sources {
            let cpu = CpuId::new((source + distance) % cpus).expect("few");
            for _ in 0..blocks * SizeClass::all().count() {
                world.free(cpu, 0);
            }
        }
        world.check();
    }
    let pairs = ROUNDS * sources * blocks * SizeClass::all().count();
    1000 * (world.takings() - begun) / pairs as u64
}

#[test]
fn an_exchange_between_neighbours_takes_no_shared_lock() {
    for cpus in [2, 4, 16] {
        assert_eq!(takings(cpus, cpus, 1, CHAINS_PER_CPU), 0, "{cpus} CPUs");
    }
}

#[test]
fn blocks_come_back_from_cpus_that_only_free() {
    for cpus in [2, 4, 8, 16] {
        let part = takings(cpus, cpus / 2, cpus / 2, CHAINS_PER_CPU / 2);
        assert_eq!(part, 0, "{cpus} CPUs");
    }
}
