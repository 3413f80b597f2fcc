//! Model of a grace period's count (`rcu::Pending`), from the file that ships:
//! exactly one report is the last, and it has seen all that the others did.
#![cfg(loom)]

#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::Arc;
use loom::thread;
use loom_word::Word;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::rcu::Pending;
use stillpoint::sync::atomic::{AtomicU32, Ordering};

struct World {
    pending: Pending,
    /// Written by each CPU in its section, read after the grace period.
    sections: [Word; 2],
    /// Stands for the completion: how often there was a last report.
    done: AtomicU32,
}

fn cpu(index: usize) -> CpuId {
    CpuId::new(index + 1).expect("few")
}

/// The CPU leaves its section and reports, as often as SGIs come.
fn reports(world: &World, index: usize, times: u32) {
    world.sections[index].set(1);
    for _ in 0..times {
        if world.pending.report(cpu(index)) {
            // Release: as the completion's lock.
            world.done.fetch_add(1, Ordering::Release);
        }
    }
}

fn world() -> Arc<World> {
    Arc::new(World {
        pending: Pending::new(),
        sections: [Word::new(0), Word::new(0)],
        done: AtomicU32::new(0),
    })
}

#[test]
fn the_last_report_has_seen_every_section() {
    loom::model(|| {
        let world = world();
        let cpus = (0..2).map(cpu).collect();
        world.pending.begin(&cpus);
        let others: Vec<_> = (0..2)
            .map(|index| {
                let world = Arc::clone(&world);
                // Twice: a second one is none.
                thread::spawn(move || reports(&world, index, 2))
            })
            .collect();
        while world.done.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        assert!(world.sections.iter().all(|section| section.get() == 1));
        assert!(world.pending.cpus_racy().is_empty());
        for other in others {
            other.join().expect("a CPU of the model");
        }
        assert_eq!(world.done.load(Ordering::Relaxed), 1);
    });
}

/// A stale SGI, which no barrier of the waiter's goes before, comes while the
/// grace period begins: if its report finds the bit, it finds the count.
#[test]
fn a_report_by_a_stale_sgi_counts_nothing_that_is_not_there() {
    loom::model(|| {
        let world = world();
        let other = Arc::clone(&world);
        let stale = thread::spawn(move || {
            // Loom lets an access that clears a bit and a store of the word beside
            // it both win; so it is looked for first, without any ordering.
            while other.pending.cpus_racy().is_empty() {
                thread::yield_now();
            }
            reports(&other, 0, 1);
        });
        world.pending.begin(&CpuMask::of(cpu(0)));
        stale.join().expect("a CPU of the model");
        assert_eq!(world.done.load(Ordering::Relaxed), 1);
    });
}
