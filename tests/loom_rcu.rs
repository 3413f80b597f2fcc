//! Model of grace periods, from the kernel's own files.
//!
//! - `rcu::Pending`: exactly one report is the last, and it sees the stores before all other
//!   reports. A grace period never waits for ever for a CPU that leaves.
//! - `rcu::Sequence` and `rcu::Quiet`: no object is freed that a reader may still read,
//!   whichever thread runs the grace period.

#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_wait_queue.rs"]
mod loom_wait_queue;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::{Arc, Mutex};
use loom::thread;
use loom_orders::every_order;
use loom_wait_queue::WaitQueue;
use loom_word::Word;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::rcu::{Pending, Quiet, Sequence, Turn};
use stillpoint::sync::atomic::{AtomicU32, Ordering};

struct World {
    pending: Pending,
    /// Written by the waiter before the grace period, read by the last report. It stands beside
    /// the count: of a word that is only modified, loom shows no old value.
    before: Word,
    /// Written by each CPU in its section, read after the grace period.
    sections: [Word; 2],
    /// How often there was a last report. It stands for the end of the round.
    done: AtomicU32,
}

fn cpu(index: usize) -> CpuId {
    CpuId::new(index + 1).expect("few")
}

/// Runs the CPU, which leaves its section and reports as often as SGIs come.
fn reports(world: &World, index: usize, times: u32) {
    world.sections[index].set(1);
    for _ in 0..times {
        if world.pending.report(cpu(index)) {
            assert_eq!(world.before.get(), 1);
            // Release, as in `Sequence::end`.
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
    every_order(|| {
        let world = world();
        let cpus = (0..2).map(cpu).collect();
        world.before.set(1);
        world.pending.begin(&cpus);
        let others: Vec<_> = (0..2)
            .map(|index| {
                let world = Arc::clone(&world);
                // Reported twice: the second report has no effect.
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

/// An old SGI, before which the waiter has no barrier, comes while the grace period begins.
/// If its report sees the bit, it sees the count too.
#[test]
fn a_report_by_a_stale_sgi_counts_nothing_that_is_not_there() {
    every_order(|| {
        let world = world();
        let other = Arc::clone(&world);
        let stale = thread::spawn(move || {
            // In loom an access that clears a bit and a store to the same word can both
            // succeed. So the bit is read first, without any ordering.
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

/// The CPU leaves while a grace period begins. It leaves in a still point, in which no leader
/// is between its check of the CPU and the SGI; a mutex stands for that.
#[test]
fn a_cpu_that_leaves_is_not_waited_for() {
    every_order(|| {
        let world = world();
        world.pending.join(cpu(0));
        let no_still_point = Arc::new(Mutex::new(()));
        let (other, excluded) = (Arc::clone(&world), Arc::clone(&no_still_point));
        let leaver = thread::spawn(move || {
            other.sections[0].set(1);
            let still = excluded.lock().expect("no thread panics under it");
            if other.pending.leave(cpu(0)) {
                other.done.fetch_add(1, Ordering::Release);
            }
            drop(still);
        });
        // Two grace periods: the CPU's leaving must not end the second one either.
        for round in 1..=2 {
            let here = no_still_point.lock().expect("no thread panics under it");
            let watched = world.pending.watched();
            if !watched.is_empty() {
                world.pending.begin(&watched);
            }
            drop(here);
            if watched.is_empty() {
                // The CPU left before.
                continue;
            }
            // There is no SGI in this model, so the CPU reports only when it leaves.
            while world.done.load(Ordering::Acquire) < round {
                thread::yield_now();
            }
        }
        assert_eq!(world.sections[0].get(), 1);
        leaver.join().expect("the CPU of the model");
        assert!(world.pending.cpus_racy().is_empty());
    });
}

/// Whether the CPU has reported in the round that is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Report {
    Not,
    /// The CPU was asked and has not reported; its report ends the round.
    Asked,
    Done,
}

/// A CPU that reads an object in sections, and the threads that free it.
struct Shared {
    pending: Pending,
    rounds: Sequence,
    waiters: WaitQueue,
    quiet: Quiet,
    /// Whether the CPU's sections are over, for a thread that has found it busy.
    reported: Mutex<Report>,
    /// The version that the sections read. Relaxed on both sides: only the grace period orders
    /// the accesses.
    version: AtomicU32,
    /// The old version, which is read while it is current, and freed later.
    old: Word,
}

fn shared() -> Arc<Shared> {
    Arc::new(Shared {
        pending: Pending::new(),
        rounds: Sequence::new(),
        waiters: WaitQueue::new(),
        quiet: Quiet::new(),
        reported: Mutex::new(Report::Not),
        version: AtomicU32::new(0),
        old: Word::new(1),
    })
}

fn section(shared: &Shared) {
    if shared.version.load(Ordering::Relaxed) == 0 {
        assert_eq!(shared.old.get(), 1);
    }
}

/// Ends the CPU's last section: the CPU reports, if it is asked, and is idle then.
fn rest(shared: &Shared) {
    let mut reported = shared.reported.lock().expect("no thread panics under it");
    let asked = core::mem::replace(&mut *reported, Report::Done) == Report::Asked;
    drop(reported);
    if asked {
        end(shared);
    }
    shared.quiet.begin();
}

fn end(shared: &Shared) {
    shared.rounds.end();
    shared.waiters.wake();
}

/// Begins a round; returns whether the round is over already, because the CPU is idle or has
/// reported. Otherwise the CPU's report ends it.
fn begin(shared: &Shared) -> bool {
    if shared.quiet.is_quiet() {
        return true;
    }
    let mut reported = shared.reported.lock().expect("no thread panics under it");
    if *reported == Report::Done {
        return true;
    }
    *reported = Report::Asked;
    false
}

/// Waits for a grace period, or begins it.
fn synchronize(shared: &Shared) {
    let need = shared.rounds.need();
    let mut ends = false;
    shared.waiters.wait(|| match shared.rounds.try_begin(need) {
        Turn::Done => true,
        Turn::Busy => false,
        Turn::Begun => {
            ends = begin(shared);
            ends
        }
    });
    // The kernel does this inside the wait, where the model holds the queue's lock.
    if ends {
        end(shared);
    }
}

#[test]
fn what_a_cpu_may_read_when_it_wakes_is_not_freed_because_it_slept() {
    every_order(|| {
        let shared = shared();
        let reader = Arc::clone(&shared);
        let cpu = thread::spawn(move || {
            section(&reader);
            reader.quiet.begin();
            reader.quiet.end();
            section(&reader);
            rest(&reader);
        });
        shared.version.store(1, Ordering::Relaxed);
        synchronize(&shared);
        shared.old.set(0); // Freed.
        cpu.join().expect("the CPU of the model");
    });
}

/// Another thread runs grace periods too: the thread that frees may begin one, or find one
/// of the other thread under way or over.
#[test]
fn whoever_runs_the_grace_period_serves_those_who_came_before() {
    every_order(|| {
        let shared = shared();
        shared.quiet.begin();
        let reader = Arc::clone(&shared);
        let cpu = thread::spawn(move || {
            reader.quiet.end();
            section(&reader);
            rest(&reader);
        });
        let leader = Arc::clone(&shared);
        let other = thread::spawn(move || synchronize(&leader));
        shared.version.store(1, Ordering::Relaxed);
        synchronize(&shared);
        shared.old.set(0); // Freed.
        cpu.join().expect("the CPU of the model");
        other.join().expect("the other thread");
    });
}

/// A CPU comes online while a grace period begins: either the leader sees it, or the CPU sees
/// what was stored before.
#[test]
fn a_cpu_that_joins_is_watched_or_reads_what_is_new() {
    every_order(|| {
        let shared = shared();
        let comer = Arc::clone(&shared);
        let joins = thread::spawn(move || {
            comer.pending.join(cpu(0));
            section(&comer);
        });
        shared.version.store(1, Ordering::Relaxed);
        let need = shared.rounds.need();
        assert_eq!(shared.rounds.try_begin(need), Turn::Begun);
        if shared.pending.watched().is_empty() {
            shared.old.set(0); // Freed.
        }
        joins.join().expect("the CPU of the model");
    });
}
