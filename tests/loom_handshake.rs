//! Model of the hotplug handshake, from the kernel's own file. In whatever order control and
//! the CPU move, they agree on the state, and each side sees all that the other wrote before
//! its move.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::Arc;
use loom::thread;
use loom_orders::every_order;
use loom_word::Word;
use stillpoint::hotplug::{Handshake, SyncState};
use stillpoint::sync::atomic::AtomicU32;
use stillpoint::sync::atomic::Ordering::Relaxed;

struct World {
    word: AtomicU32,
    /// Written by control before its verdict, read by the CPU after it.
    prepared: Word,
    /// Written by control before it starts the CPU, and read by the CPU once it runs, as the
    /// boot record is.
    record: Word,
    /// Written by the CPU before it arrives, read by control after ALIVE or DEAD.
    arrived: Word,
    /// Written by the CPU before it says DEAD, and by control when it has seen that.
    taken_over: Word,
}

fn world() -> Arc<World> {
    Arc::new(World {
        word: AtomicU32::new(SyncState::Dead as u32),
        prepared: Word::new(0),
        record: Word::new(0),
        arrived: Word::new(0),
        taken_over: Word::new(0),
    })
}

/// Runs one life of the CPU; returns whether it came online.
fn ap(world: &World) -> bool {
    let sync = Handshake(&world.word);
    world.arrived.set(1);
    if !sync.arrive() {
        return false;
    }
    let record = world.record.get();
    let go_on = loop {
        match sync.verdict() {
            Some(go_on) => break go_on,
            None => thread::yield_now(),
        }
    };
    if !go_on {
        sync.dead(SyncState::ShouldDie);
        return false;
    }
    assert!(record == 0 || record == 7);
    assert_eq!(world.prepared.get(), 1);
    sync.online();
    true
}

#[test]
fn a_cpu_that_is_wanted_comes_online() {
    every_order(|| {
        let world = world();
        assert_eq!(Handshake(&world.word).kick(), Ok(SyncState::Dead));
        let other = Arc::clone(&world);
        let cpu = thread::spawn(move || ap(&other));
        let sync = Handshake(&world.word);
        while sync.state() != SyncState::Alive {
            thread::yield_now();
        }
        assert_eq!(world.arrived.get(), 1);
        world.prepared.set(1);
        assert_eq!(sync.release(), Ok(()));
        assert!(cpu.join().expect("a CPU of the model"));
        assert_eq!(sync.state(), SyncState::Online);
    });
}

/// Control gives up at the moment at which the CPU arrives.
#[test]
fn giving_up_and_arriving_agree_on_who_was_first() {
    every_order(|| {
        let world = world();
        assert_eq!(Handshake(&world.word).kick(), Ok(SyncState::Dead));
        let other = Arc::clone(&world);
        let cpu = thread::spawn(move || ap(&other));
        let sync = Handshake(&world.word);
        let gave_up = sync.give_up().is_ok();
        if !gave_up {
            // A move that fails acquires too.
            assert_eq!(world.arrived.get(), 1);
            world.prepared.set(1);
            assert_eq!(sync.release(), Ok(()));
        }
        assert_eq!(cpu.join().expect("a CPU of the model"), !gave_up);
        let end = if gave_up {
            SyncState::Dead
        } else {
            SyncState::Online
        };
        assert_eq!(sync.state(), end);
    });
}

/// A CPU that was online says DEAD from its idle thread, and is started again.
#[test]
fn a_cpu_that_leaves_is_taken_over_and_may_be_started_again() {
    every_order(|| {
        let world = world();
        world.word.store(SyncState::Online as u32, Relaxed);
        let other = Arc::clone(&world);
        let cpu = thread::spawn(move || {
            other.taken_over.set(1);
            Handshake(&other.word).dead(SyncState::Online);
        });
        let sync = Handshake(&world.word);
        loop {
            match sync.may_kick() {
                Err(SyncState::Online) => thread::yield_now(),
                may => break assert_eq!(may, Ok(SyncState::Dead)),
            }
        }
        assert_eq!(world.taken_over.get(), 1);
        world.taken_over.set(2);
        assert_eq!(sync.kick(), Ok(SyncState::Dead));
        cpu.join().expect("a CPU of the model");
        assert_eq!(sync.state(), SyncState::Kicked);
    });
}

/// Firmware refuses CPU_ON and starts the CPU all the same, or an earlier call has started it.
/// `before` is the state in which control calls the CPU.
fn refused_and_started(before: SyncState) {
    every_order(move || {
        let world = world();
        world.word.store(before as u32, Relaxed);
        let sync = Handshake(&world.word);
        let other = Arc::clone(&world);
        let start_fn = || thread::spawn(move || ap(&other));
        let (kicked, cpu) = if before == SyncState::Cancelled {
            // The first call has started it.
            let cpu = start_fn();
            (sync.kick(), cpu)
        } else {
            (sync.kick(), start_fn())
        };
        let found = kicked.expect("a CPU that isn't running");
        match sync.take_back(found) {
            // Control goes on as if firmware had not refused.
            Err(now) => {
                assert_eq!((found, now), (before, SyncState::Alive));
                assert_eq!(world.arrived.get(), 1);
                world.prepared.set(1);
                assert_eq!(sync.release(), Ok(()));
                assert!(cpu.join().expect("a CPU of the model"));
                assert_eq!(sync.state(), SyncState::Online);
            }
            // The operation has failed, and the CPU leaves when it comes.
            Ok(()) => {
                assert!(!cpu.join().expect("a CPU of the model"));
                assert_eq!(sync.state(), SyncState::Dead);
            }
        }
    });
}

#[test]
fn a_cpu_that_comes_though_firmware_refused_stays_or_leaves() {
    refused_and_started(SyncState::Dead);
}

#[test]
fn a_cpu_that_comes_though_its_second_call_was_refused_stays_or_leaves() {
    refused_and_started(SyncState::Cancelled);
}

/// Control takes a CPU for one that has refused itself, and moves the word for it, while a CPU
/// arrives.
fn seen_off_and_arriving(from: SyncState) {
    every_order(move || {
        let world = world();
        world.word.store(from as u32, Relaxed);
        let other = Arc::clone(&world);
        let cpu = thread::spawn(move || ap(&other));
        let sync = Handshake(&world.word);
        match sync.seen_off(from) {
            // The CPU finds DEAD, and leaves.
            Ok(()) => assert!(!cpu.join().expect("a CPU of the model")),
            Err(SyncState::Alive) => {
                assert_eq!(from, SyncState::Kicked);
                assert_eq!(world.arrived.get(), 1);
                world.prepared.set(1);
                assert_eq!(sync.release(), Ok(()));
                assert!(cpu.join().expect("a CPU of the model"));
                return assert_eq!(sync.state(), SyncState::Online);
            }
            // A CPU that was given up has said DEAD itself.
            Err(now) => {
                assert_eq!((from, now), (SyncState::Cancelled, SyncState::Dead));
                assert_eq!(world.arrived.get(), 1);
                assert!(!cpu.join().expect("a CPU of the model"));
            }
        }
        assert_eq!(sync.state(), SyncState::Dead);
    });
}

#[test]
fn a_cpu_that_is_seen_off_while_it_arrives_stays_or_leaves() {
    seen_off_and_arriving(SyncState::Kicked);
}

#[test]
fn a_cpu_that_is_seen_off_after_it_was_given_up_leaves() {
    seen_off_and_arriving(SyncState::Cancelled);
}

/// Control gives up, and tries again while the CPU may still be coming up.
#[test]
fn a_retry_meets_a_late_arrival_or_finds_it_gone() {
    every_order(|| {
        let world = world();
        assert_eq!(Handshake(&world.word).kick(), Ok(SyncState::Dead));
        let sync = Handshake(&world.word);
        assert_eq!(sync.give_up(), Ok(()));
        let other = Arc::clone(&world);
        let cpu = thread::spawn(move || ap(&other));
        // No CPU reads the record while the word doesn't ask for one, and the answer lasts.
        assert!(sync.may_kick().is_ok());
        world.record.set(7);
        match sync.kick() {
            // The CPU is still coming up, and this time control waits for it.
            Ok(SyncState::Cancelled) => {
                while sync.state() != SyncState::Alive {
                    thread::yield_now();
                }
                world.prepared.set(1);
                assert_eq!(sync.release(), Ok(()));
                assert!(cpu.join().expect("a CPU of the model"));
            }
            // The CPU has come and gone: a new start would find a CPU that is off.
            Ok(SyncState::Dead) => {
                assert!(!cpu.join().expect("a CPU of the model"));
                assert_eq!(sync.state(), SyncState::Kicked);
            }
            other => panic!("{other:?}"),
        }
    });
}

/// Control dismisses a CPU that waits.
#[test]
fn a_cpu_that_is_dismissed_leaves() {
    every_order(|| {
        let world = world();
        assert_eq!(Handshake(&world.word).kick(), Ok(SyncState::Dead));
        let other = Arc::clone(&world);
        let cpu = thread::spawn(move || ap(&other));
        let sync = Handshake(&world.word);
        // As `cancel_start` does: either move may be the one that succeeds.
        if sync.give_up().is_err() {
            assert_eq!(sync.dismiss(), Ok(()));
        }
        assert!(!cpu.join().expect("a CPU of the model"));
        assert_eq!(sync.state(), SyncState::Dead);
        assert_eq!(world.arrived.get(), 1);
    });
}
