//! What a thread does that waits for an `RwLock`: as one does that waits for a mutex.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stillpoint::platform::Platform;
use stillpoint::sched::lock::RwLock;
use stillpoint::sched::{Class, SchedHost, Thread, ThreadState};
use stillpoint::sync::LocalCpu;

use crate::mutexes::{OTHER, WAITERS, on_three_cpus, relax_until, spawn};
use crate::sim::Sim;

type Shared = Arc<RwLock<(), Sim>>;

/// For what a thread takes the lock.
#[derive(Clone, Copy, Debug)]
enum Way {
    Read,
    Write,
}

impl Way {
    /// Calls `hold_fn` with the lock held.
    fn with(self, lock: &Shared, hold_fn: impl FnOnce()) {
        match self {
            Way::Read => {
                let _held = lock.read();
                hold_fn();
            }
            Way::Write => {
                let _held = lock.write();
                hold_fn();
            }
        }
    }
}

/// For what the lock is held, and for what a thread waits.
const WAYS: [(Way, Way); 3] = [
    (Way::Write, Way::Read),
    (Way::Write, Way::Write),
    (Way::Read, Way::Write),
];

#[test]
fn a_thread_spins_for_an_rw_lock_while_its_writer_runs() {
    on_three_cpus(|| {
        for (holds, waits) in WAYS {
            it_does_not_sleep_if_the_lock_is_free_soon(holds, waits);
            it_sleeps_if_the_lock_is_kept(holds, waits);
        }
        for waits in [Way::Read, Way::Write] {
            it_sleeps_at_once_if_the_writer_sleeps(waits);
        }
    });
}

fn new_lock() -> Shared {
    Arc::new(RwLock::new(()))
}

/// Has a thread wait for `lock`. Returns it when it is in line.
fn wait_for(lock: &Shared, way: Way) -> Arc<Thread<Sim>> {
    let own = Arc::clone(lock);
    let asks = Arc::new(AtomicBool::new(false));
    let own_asks = Arc::clone(&asks);
    let waiter = spawn(WAITERS, Class::Normal, move || {
        // Relaxed: no other CPU has a turn before the thread is in line.
        own_asks.store(true, Ordering::Relaxed);
        way.with(&own, || ());
    });
    relax_until(|| asks.load(Ordering::Relaxed));
    waiter
}

/// Waits until `waiter` has ended; returns whether it slept.
fn sleeps_until_it_ends(waiter: &Thread<Sim>) -> bool {
    let mut slept = false;
    relax_until(|| {
        slept |= waiter.state_racy() == ThreadState::Blocked;
        waiter.state_racy() == ThreadState::Dead
    });
    slept
}

fn it_does_not_sleep_if_the_lock_is_free_soon(holds: Way, waits: Way) {
    let lock = new_lock();
    let mut waiter = None;
    holds.with(&lock, || waiter = Some(wait_for(&lock, waits)));
    let waiter = waiter.expect("it waits");
    assert!(!sleeps_until_it_ends(&waiter), "{holds:?} {waits:?}");
}

fn it_sleeps_if_the_lock_is_kept(holds: Way, waits: Way) {
    let lock = new_lock();
    let mut waiter = None;
    holds.with(&lock, || {
        let waits = wait_for(&lock, waits);
        assert_eq!(waits.state_racy(), ThreadState::Running);
        (0..50).for_each(|_| Sim::relax());
        assert_eq!(waits.state_racy(), ThreadState::Blocked);
        waiter = Some(waits);
    });
    let waiter = waiter.expect("it waits");
    sleeps_until_it_ends(&waiter);
}

fn it_sleeps_at_once_if_the_writer_sleeps(waits: Way) {
    let lock = new_lock();
    let own = Arc::clone(&lock);
    spawn(OTHER, Class::Normal, move || {
        Way::Write.with(&own, || {
            Sim::sched().sleep_until(Sim::deadline(Duration::from_millis(1)));
        });
    });
    (0..50).for_each(|_| Sim::relax());
    let waiter = wait_for(&lock, waits);
    assert_eq!(waiter.state_racy(), ThreadState::Blocked);
    sleeps_until_it_ends(&waiter);
}
