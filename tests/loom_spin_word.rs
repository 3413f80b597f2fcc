//! Model of the word of a spin lock, from the kernel's own file. One CPU at a time holds the
//! lock and sees the stores of earlier holders, and a CPU that reads its own mark holds it.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_word.rs"]
mod loom_word;

use std::num::NonZeroUsize;

use loom::sync::Arc;
use loom::thread;
use loom_orders::every_order;
use loom_word::Word;
use stillpoint::sync::SpinWord;

struct World {
    lock: SpinWord,
    /// The word that the lock guards.
    value: Word,
}

fn mark(cpu: u32) -> NonZeroUsize {
    let cpu = usize::try_from(cpu).expect("a small number");
    NonZeroUsize::MIN.saturating_add(cpu)
}

fn world() -> Arc<World> {
    Arc::new(World {
        lock: SpinWord::new(),
        value: Word::new(0),
    })
}

/// Adds one under the lock, if it is free; returns how many were added.
fn try_add(world: &World, cpu: u32) -> u32 {
    assert_ne!(world.lock.holder(), Some(mark(cpu)), "it holds nothing");
    if !world.lock.try_take(mark(cpu)) {
        return 0;
    }
    assert_eq!(world.lock.holder(), Some(mark(cpu)), "it holds the word");
    world.value.set(world.value.get() + 1);
    world.lock.open();
    1
}

/// Adds one under the lock, `times` times.
fn add(world: &World, cpu: u32, times: u32) {
    for _ in 0..times {
        while try_add(world, cpu) == 0 {
            thread::yield_now();
        }
    }
}

#[test]
fn two_cpus_that_come_again() {
    every_order(|| {
        let world = world();
        let other = Arc::clone(&world);
        let cpu = thread::spawn(move || add(&other, 1, 2));
        add(&world, 0, 2);
        cpu.join().expect("a CPU of the model");
        assert!(world.lock.try_take(mark(0)), "both have opened it");
        assert_eq!(world.value.get(), 4);
    });
}

/// Three CPUs that only try the lock. A model of three CPUs that wait is too large.
#[test]
fn three_cpus_that_try() {
    every_order(|| {
        let world = world();
        let others = [1, 2].map(|cpu| {
            let world = Arc::clone(&world);
            thread::spawn(move || try_add(&world, cpu))
        });
        let mut added = try_add(&world, 0) + try_add(&world, 0);
        for other in others {
            added += other.join().expect("a CPU of the model");
        }
        assert!(world.lock.try_take(mark(0)), "all have opened it");
        assert_eq!(world.value.get(), added);
    });
}
