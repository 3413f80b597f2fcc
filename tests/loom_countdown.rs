//! Model of the counter that the CPUs of a batch count down, and control: exactly one is the
//! last, whether CPUs come to the end before others have begun or not, and control then sees all
//! that each of them has done.
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
        // (last-sees-all, control-counts-last)
        for word in &world.results {
            assert_eq!(word.get(), result);
        }
        world.done.fetch_add(1, Release);
    }
}

/// Two batches, one after the other, on the same counter. The first CPU walks while control
/// starts the second.
#[test]
fn control_sees_what_each_cpu_of_a_batch_has_done() {
    loom::model(|| {
        let world = Arc::new(World {
            left: Countdown::new(),
            done: AtomicU32::new(0),
            results: [Word::new(0), Word::new(0)],
        });
        let mut completed = 0;
        for batch in 1..=2 {
            world.left.begin();
            let cpus = [0, 1].map(|cpu| {
                world.left.add();
                let its = Arc::clone(&world);
                thread::spawn(move || walk(&its, cpu, batch))
            });
            let before = completed;
            let is_last = world.left.count();
            if !is_last {
                completed += 1;
            }
            while world.done.load(Acquire) < completed {
                thread::yield_now();
            }
            for result in &world.results {
                assert_eq!(result.get(), batch);
            }
            // (counted-once)
            for cpu in cpus {
                cpu.join().expect("a CPU of the model");
            }
            let by_cpus = world.done.load(Relaxed) - before;
            assert_eq!(by_cpus, u32::from(!is_last));
        }
    });
}
