//! Model of the hotplug handshake, from the kernel's own file. In whatever order control and
//! the CPU move, they agree on the state, and each side sees all that the other wrote before
//! its move.
#![cfg(loom)]

#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::Arc;
use loom::thread;
use loom_word::Word;
use stillpoint::hotplug::{Handshake, SyncState};
use stillpoint::sync::atomic::AtomicU32;

struct World {
    word: AtomicU32,
    /// Written by control before its verdict, read by the CPU after it.
    prepared: Word,
    /// Written by control before it starts the CPU, and read by the CPU once it runs, as the
    /// boot record is.
    record: Word,
    /// Written by the CPU before it arrives, read by control after ALIVE or DEAD.
    arrived: Word,
}

fn world() -> Arc<World> {
    Arc::new(World {
        word: AtomicU32::new(SyncState::Dead as u32),
        prepared: Word::new(0),
        record: Word::new(0),
        arrived: Word::new(0),
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
    loom::model(|| {
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
    loom::model(|| {
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

/// Control gives up, and tries again while the CPU may still be coming up.
#[test]
fn a_retry_meets_a_late_arrival_or_finds_it_gone() {
    loom::model(|| {
        let world = world();
        assert_eq!(Handshake(&world.word).kick(), Ok(SyncState::Dead));
        let sync = Handshake(&world.word);
        assert_eq!(sync.give_up(), Ok(()));
        let other = Arc::clone(&world);
        let cpu = thread::spawn(move || ap(&other));
        // No CPU reads the record while the word doesn't ask for one.
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
    loom::model(|| {
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
