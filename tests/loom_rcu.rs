//! Model of a grace period's count (`rcu::Pending`), from the file that ships:
//! exactly one report is the last, and it has seen all that the others did. And of
//! an idle CPU (`rcu::Quiet`): nothing that it may still read is freed.
#![cfg(loom)]

#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::Arc;
use loom::thread;
use loom_word::Word;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::rcu::{Pending, Quiet};
use stillpoint::sync::atomic::{AtomicU32, Ordering};

struct World {
    pending: Pending,
    /// Written by the waiter before the grace period, read by the last report. It
    /// stands beside the count, of which loom knows only the newest value.
    before: Word,
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
            assert_eq!(world.before.get(), 1);
            // Release: as the completion's lock.
            world.done.fetch_add(1, Ordering::Release);
        }
    }
}

fn world() -> Arc<World> {
    Arc::new(World {
        pending: Pending::new(),
        before: Word::new(0),
        sections: [Word::new(0), Word::new(0)],
        done: AtomicU32::new(0),
    })
}

#[test]
fn the_last_report_has_seen_every_section() {
    loom::model(|| {
        let world = world();
        let cpus = (0..2).map(cpu).collect();
        world.before.set(1);
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
        world.before.set(1);
        world.pending.begin(&CpuMask::of(cpu(0)));
        stale.join().expect("a CPU of the model");
        assert_eq!(world.done.load(Ordering::Relaxed), 1);
    });
}

/// A CPU with an object that it reads in sections, and the one that frees it.
struct Shared {
    quiet: Quiet,
    /// Which version the sections read. Relaxed on both sides: the grace period is
    /// all that orders them.
    version: AtomicU32,
    /// The old version: read while it is current, and freed.
    old: Word,
}

fn section(shared: &Shared) {
    if shared.version.load(Ordering::Relaxed) == 0 {
        assert_eq!(shared.old.get(), 1);
    }
}

#[test]
fn what_a_cpu_may_read_when_it_wakes_is_not_freed_because_it_slept() {
    loom::model(|| {
        let shared = Arc::new(Shared {
            quiet: Quiet::new(),
            version: AtomicU32::new(0),
            old: Word::new(1),
        });
        let reader = Arc::clone(&shared);
        let cpu = thread::spawn(move || {
            section(&reader);
            reader.quiet.begin();
            reader.quiet.end();
            section(&reader);
            reader.quiet.begin();
        });
        shared.version.store(1, Ordering::Relaxed);
        Quiet::before_asking();
        // A CPU that is busy would be sent the SGI: here, asked until it is quiet.
        while !shared.quiet.is_quiet() {
            thread::yield_now();
        }
        shared.old.set(0); // Freed.
        cpu.join().expect("the CPU of the model");
    });
}
