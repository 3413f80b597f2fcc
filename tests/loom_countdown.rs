//! Model of the counter that the CPUs of a batch count down: exactly one of them is the last,
//! and control then sees all that each of them has done.
#![cfg(loom)]

#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::Arc;
use loom::thread;
use loom_word::Word;
use stillpoint::hotplug::Countdown;
use stillpoint::sync::atomic::AtomicU32;
use stillpoint::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const CPUS: usize = 2;

struct World {
    left: Countdown,
    /// Stands for the completion: written by the last CPU, read by control.
    done: AtomicU32,
    /// What each CPU has done. Written by it before it counts, read by the last CPU and by
    /// control.
    results: [Word; CPUS],
}

fn walk(world: &World, cpu: usize, result: u32) {
    world.results[cpu].set(result);
    if world.left.count() {
        // (last-sees-all)
        for result in &world.results {
            assert_ne!(result.get(), 0);
        }
        world.done.fetch_add(1, Release);
    }
}

/// Two batches, one after the other, on the same counter.
#[test]
fn control_sees_what_each_cpu_of_a_batch_has_done() {
    loom::model(|| {
        let world = Arc::new(World {
            left: Countdown::new(),
            done: AtomicU32::new(0),
            results: [Word::new(0), Word::new(0)],
        });
        for batch in 1..=2 {
            world.left.begin(2);
            let cpus = [0, 1].map(|cpu| {
                let its = Arc::clone(&world);
                thread::spawn(move || walk(&its, cpu, batch))
            });
            while world.done.load(Acquire) < batch {
                thread::yield_now();
            }
            for result in &world.results {
                assert_eq!(result.get(), batch);
            }
            // (counted-once)
            for cpu in cpus {
                cpu.join().expect("a CPU of the model");
            }
            assert_eq!(world.done.load(Relaxed), batch);
        }
    });
}
