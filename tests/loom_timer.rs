//! Model of a timer between the queues of CPUs (`sched::Claim`) and of the calls of its
//! function (`sched::CallCount`), from the files that ship: it is in one queue at most,
//! whichever CPU sets and moves it, and after it was taken back its function is not running.
//!
//! The model brings the queues: each is a mutex, and whether the timer is in it. What
//! `Scheduler::set_timer` and its like do around the two is written down once more.
#![cfg(loom)]

#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::{Arc, Mutex, MutexGuard};
use loom::thread;
use loom_word::Word;
use stillpoint::cpu::CpuId;
use stillpoint::sched::{CallCount, Claim};

struct World {
    claim: Claim,
    calls: CallCount,
    /// Whether the timer hangs in the queue of a CPU.
    queues: [Mutex<bool>; 2],
    /// The timer's link: written by the CPU that links and unlinks it.
    link: Word,
    /// What its function works on, and the CPU that has taken it back.
    data: Word,
}

fn world() -> Arc<World> {
    Arc::new(World {
        claim: Claim::new(),
        calls: CallCount::new(),
        queues: [Mutex::new(false), Mutex::new(false)],
        link: Word::new(0),
        data: Word::new(0),
    })
}

fn cpu(index: usize) -> CpuId {
    CpuId::new(index).expect("a small number")
}

impl World {
    fn lock(&self, index: usize) -> MutexGuard<'_, bool> {
        self.queues[index].lock().expect("never poisoned")
    }

    /// As `DueQueue::link`.
    fn link(&self, queue: &mut bool) {
        assert!(!*queue, "it is linked twice");
        self.link.set(self.link.get() + 1);
        *queue = true;
    }

    /// As `DueQueue::remove`.
    fn remove(&self, index: usize, queue: &mut bool) -> bool {
        if !self.claim.is_in(cpu(index)) {
            return false;
        }
        assert!(*queue, "it is not where it says");
        self.link.set(self.link.get() + 1);
        *queue = false;
        self.claim.leave();
        true
    }

    /// As `Scheduler::unset_timer`.
    fn unset(&self) -> bool {
        loop {
            let Some(there) = self.claim.queue() else {
                return false;
            };
            let mut queue = self.lock(there.index());
            if self.claim.queue() == Some(there) {
                return self.remove(there.index(), &mut queue);
            }
            drop(queue);
            thread::yield_now();
        }
    }

    /// One turn of `Scheduler::set_timer`: whether that was enough.
    fn try_set(&self, index: usize) -> bool {
        let mut queue = self.lock(index);
        let entered = self.claim.enter(cpu(index));
        if entered {
            self.link(&mut queue);
        }
        entered
    }

    fn set(&self, index: usize) {
        loop {
            self.unset();
            if self.try_set(index) {
                return;
            }
            thread::yield_now();
        }
    }

    /// The timer interrupt of CPU `index`: calls the function if the timer is there.
    fn interrupt(&self, index: usize, call_fn: impl FnOnce()) {
        {
            let mut queue = self.lock(index);
            if !*queue {
                return;
            }
            self.link.set(self.link.get() + 1);
            *queue = false;
            self.calls.begin();
            self.claim.leave();
        }
        self.data.set(self.data.get() + 1);
        call_fn();
        self.calls.end();
    }

    /// As `Timer::cancel`, and frees what the function works on.
    fn cancel(&self) {
        loop {
            self.unset();
            if self.calls.is_at_rest(&self.claim) {
                break;
            }
            // The wait queue's lock would order it: a look that is late looks again.
            while !self.calls.has_ended() {
                thread::yield_now();
            }
            thread::yield_now();
        }
        self.data.set(self.data.get() + 1);
        assert!(!*self.lock(0) && !*self.lock(1), "it is still set");
    }

    /// In how many queues it is.
    fn found(&self) -> usize {
        (0..2).filter(|index| *self.lock(*index)).count()
    }
}

#[test]
fn two_cpus_that_set_it_at_once_leave_it_in_one_queue() {
    loom::model(|| {
        let world = world();
        let other = Arc::clone(&world);
        let setter = thread::spawn(move || other.set(1));
        world.set(0);
        setter.join().expect("a CPU of the model");
        assert_eq!(world.found(), 1);
    });
}

/// One links what the other has unlinked, without having looked at it before.
#[test]
fn it_is_linked_again_after_it_was_unlinked() {
    loom::model(|| {
        let world = world();
        let other = Arc::clone(&world);
        let setter = thread::spawn(move || {
            if other.try_set(0) {
                assert!(other.unset());
            }
        });
        if world.try_set(1) {
            assert!(world.unset());
        }
        setter.join().expect("a CPU of the model");
        assert_eq!(world.found(), 0);
    });
}

#[test]
fn its_function_does_not_run_after_it_was_taken_back() {
    loom::model(|| {
        let world = world();
        assert!(world.try_set(0));
        let other = Arc::clone(&world);
        let interrupted = thread::spawn(move || other.interrupt(0, || ()));
        world.cancel();
        interrupted.join().expect("a CPU of the model");
    });
}

#[test]
fn one_that_sets_itself_again_is_taken_back_for_good() {
    loom::model(|| {
        let world = world();
        assert!(world.try_set(0));
        let other = Arc::clone(&world);
        let interrupted = thread::spawn(move || other.interrupt(0, || other.set(0)));
        world.cancel();
        interrupted.join().expect("a CPU of the model");
    });
}

/// As `Scheduler::adopt_timers` moves it, while it is taken back.
#[test]
fn one_that_moves_is_taken_back_all_the_same() {
    loom::model(|| {
        let world = world();
        assert!(world.try_set(1));
        let other = Arc::clone(&world);
        let adopter = thread::spawn(move || {
            let (mut to, mut from) = (other.lock(0), other.lock(1));
            if *from {
                *from = false;
                other.claim.move_to(cpu(0));
                other.link(&mut to);
            }
        });
        assert!(world.unset(), "it was set");
        adopter.join().expect("a CPU of the model");
        assert_eq!(world.found(), 0);
    });
}
