//! Model of a thread's CPUs and pins: the kernel's `sched::affinity`. A thread whose CPUs
//! change while its last pin is taken off leaves its CPU. One that loses its CPUs while they turn
//! back has them again.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use loom_orders::every_order;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::sched::{Affinity, Unpinned};

struct World {
    affinity: Affinity,
    /// `must_move` of CPU 0's run queue. The mutex stands for the queue's lock.
    must_move: Mutex<bool>,
}

impl World {
    fn evict(&self) {
        *self.must_move.lock().expect("never poisoned") = true;
    }

    fn unpin(&self) {
        if self.affinity.unpin(cpu(0)) == Unpinned::MustGo {
            self.evict();
        }
    }
}

fn cpu(number: usize) -> CpuId {
    CpuId::new(number).expect("a small number")
}

/// Models a thread on CPU 0 that puts `pins` pins on and takes them off, while another
/// thread changes its affinity to CPU 1.
fn told_while_pinned(pins: usize) {
    every_order(move || {
        let world = Arc::new(World {
            affinity: Affinity::new(&CpuMask::first_n(2)),
            must_move: Mutex::new(false),
        });
        let theirs = Arc::clone(&world);
        let runs = thread::spawn(move || {
            let first = (0..pins).filter(|_| theirs.affinity.pin()).count();
            assert_eq!(first, 1);
            (0..pins).for_each(|_| theirs.unpin());
        });
        {
            let mut must_move = world.must_move.lock().expect("never poisoned");
            if world.affinity.change(&CpuMask::of(cpu(1)), cpu(0)) {
                *must_move = true;
            }
        }
        runs.join().expect("it doesn't panic");
        let gone = *world.must_move.lock().expect("never poisoned");
        assert!(gone, "the thread stays on a CPU that it may not use");
    });
}

#[test]
fn a_pinned_thread_goes_with_its_last_pin() {
    told_while_pinned(1);
}

#[test]
fn a_pin_inside_a_pin_hides_nothing() {
    told_while_pinned(2);
}

/// Without another thread: a change of affinity doesn't move a pinned thread.
#[test]
fn the_last_pin_and_no_other_makes_it_go() {
    loom::model(|| {
        let affinity = Affinity::new(&CpuMask::first_n(2));
        assert!(affinity.pin() && !affinity.pin());
        assert!(!affinity.change(&CpuMask::of(cpu(1)), cpu(0)));
        assert_eq!(affinity.unpin(cpu(0)), Unpinned::NotYet);
        assert_eq!(affinity.unpin(cpu(0)), Unpinned::MustGo);
    });
}

/// A thread that is bound to CPU 1, and what `sched::give_back` looks at.
struct Bound {
    affinity: Affinity,
    is_active: AtomicBool,
    any_lost: AtomicBool,
    /// The lock of the run queue to which the thread belongs.
    queue: Mutex<()>,
}

impl Bound {
    /// As `Scheduler::assign`, for a thread that wakes.
    fn wake(&self) {
        let _queue = self.queue.lock().expect("never poisoned");
        if !self.is_active.load(Ordering::Acquire) {
            self.affinity.lose(&CpuMask::first_n(2));
            self.any_lost.store(true, Ordering::Relaxed);
        }
    }

    /// As `sched:active`, and then `Scheduler::give_affinities_back`.
    fn turn_back(&self) {
        self.is_active.store(true, Ordering::Release);
        drop(self.queue.lock().expect("never poisoned"));
        if !self.any_lost.load(Ordering::Relaxed) {
            return;
        }
        if let Some(lost) = self.affinity.lost() {
            let _queue = self.queue.lock().expect("never poisoned");
            let _must_go = self.affinity.change(&lost, cpu(0));
        }
    }
}

#[test]
fn a_thread_that_wakes_while_its_cpu_turns_back_is_bound_to_it() {
    every_order(|| {
        let bound = Arc::new(Bound {
            affinity: Affinity::new(&CpuMask::of(cpu(1))),
            is_active: AtomicBool::new(false),
            any_lost: AtomicBool::new(false),
            queue: Mutex::new(()),
        });
        let theirs = Arc::clone(&bound);
        let waker = thread::spawn(move || theirs.wake());
        bound.turn_back();
        waker.join().expect("it doesn't panic");
        assert_eq!(bound.affinity.cpus(), CpuMask::of(cpu(1)));
        assert_eq!(bound.affinity.lost(), None);
    });
}
