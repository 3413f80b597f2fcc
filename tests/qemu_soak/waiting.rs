//! Workers that wait: for an instant, for a lock, for each other.

use alloc::sync::Arc;
use core::time::Duration;

use stillpoint::api::thread;
use stillpoint::platform::Platform;
use stillpoint::sched::Timer;
use stillpoint::start::Hw;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::machine::{after, eventually};
use crate::world::{PERMITS, World};
use crate::xorshift::Random;

/// Sleeps, and never wakes early.
pub(crate) fn sleep(world: &World, mut random: Random) {
    while world.goes_on() {
        let until = after(Duration::from_micros(random.below(3000) as u64));
        thread::sleep_until(until);
        let now = Hw::now();
        world.must(
            now >= until,
            format_args!("woke at {now:?} instead of {until:?}"),
        );
        world.slept.add(1);
    }
}

/// Sets timers and takes some of them back.
pub(crate) fn timers(world: &World, mut random: Random) {
    let fired = Arc::new(AtomicU64::new(0));
    let due = Arc::new(AtomicU64::new(0));
    let early = Arc::new(AtomicBool::new(false));
    let timer = {
        let (fired, due, early) = (Arc::clone(&fired), Arc::clone(&due), Arc::clone(&early));
        Timer::<Hw>::new(move || {
            if Hw::now().0 < due.load(Ordering::Relaxed) {
                early.store(true, Ordering::Relaxed);
            }
            fired.fetch_add(1, Ordering::Release);
        })
    };
    while world.goes_on() {
        let before = fired.load(Ordering::Acquire);
        let at = after(Duration::from_micros(random.below(2000) as u64));
        due.store(at.0, Ordering::Relaxed);
        timer.start(at);
        world.set.add(1);
        if random.below(2) == 0 {
            thread::sleep(Duration::from_micros(random.below(2000) as u64));
            if timer.cancel() {
                world.cancelled.add(1);
            } else {
                world.fired.add(1);
            }
        } else {
            let gone_off = eventually(|| fired.load(Ordering::Acquire) != before);
            world.must(gone_off, format_args!("a timer was lost"));
            world.fired.add(1);
        }
        if random.below(8) == 0 {
            // The one before may have been taken back before it was due.
            due.store(0, Ordering::Relaxed);
            timer.start_periodic(Hw::now(), Duration::from_micros(200));
            thread::sleep(Duration::from_millis(1));
            timer.cancel();
            let now = fired.load(Ordering::Acquire);
            thread::sleep(Duration::from_micros(500));
            let later = fired.load(Ordering::Acquire);
            world.must(later == now, format_args!("a timer goes off after its end"));
            world.periods.add(1);
        }
    }
    world.must(
        !early.load(Ordering::Relaxed),
        format_args!("a timer went off early"),
    );
}

/// Adds under locks of every kind.
pub(crate) fn lock(world: &World, mut random: Random) {
    while world.goes_on() {
        match random.below(5) {
            0 => {
                *world.mutex.lock() += 1;
                world.added.add(1);
                world.changed.notify_all();
            }
            1 => {
                let mut pair = world.pair.write();
                pair.0 += 1;
                thread::yield_now();
                pair.1 += 1;
                world.added.add(1);
            }
            2 => {
                let pair = world.pair.read();
                thread::yield_now();
                world.must(pair.0 == pair.1, format_args!("a reader sees {:?}", *pair));
            }
            3 => {
                world.permits.acquire();
                let inside = world.inside.fetch_add(1, Ordering::Relaxed) + 1;
                world.must(
                    inside <= PERMITS as u64,
                    format_args!("{inside} threads have {PERMITS} permits"),
                );
                thread::yield_now();
                world.inside.fetch_sub(1, Ordering::Relaxed);
                world.permits.release();
            }
            _ => {
                let guard = world.mutex.lock();
                let limit = after(Duration::from_micros(random.below(1000) as u64));
                drop(world.changed.wait_until(guard, limit));
            }
        }
    }
}

/// Parks and unparks another thread, in turn.
pub(crate) fn park(world: &World, _: Random) {
    let turns = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let other = {
        let (turns, stop) = (Arc::clone(&turns), Arc::clone(&stop));
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                thread::park();
                turns.fetch_add(1, Ordering::Release);
            }
        })
    };
    while world.goes_on() {
        let before = turns.load(Ordering::Acquire);
        thread::Thread::from(other.thread()).unpark();
        let went_on = eventually(|| turns.load(Ordering::Acquire) != before);
        world.must(went_on, format_args!("an unpark was lost"));
        world.parked.add(1);
    }
    stop.store(true, Ordering::Relaxed);
    thread::Thread::from(other.thread()).unpark();
    other.join();
}
