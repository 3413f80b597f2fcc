//! Model of a timer: the kernel's `sched::Claim`, which names the queue that it is in, and
//! `sched::CallCount`, which counts the calls of its function. The timer is in one queue at
//! most, whichever CPU sets and moves it, and after a cancel its function isn't running.
//!
//! A queue of the model is a mutex around a flag: whether the timer is in it. The model
//! repeats the code that `Scheduler::set_timer` and its like have around the two.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::{Arc, Mutex, MutexGuard};
use loom::thread;
use loom_orders::every_order;
use loom_word::Word;
use stillpoint::cpu::CpuId;
use stillpoint::sched::{CallCount, Claim};

struct World {
    claim: Claim,
    calls: CallCount,
    /// Whether the timer is in the queue of each CPU.
    queues: [Mutex<bool>; 2],
    /// The timer's link, which the CPU writes that links or unlinks the timer.
    link: Word,
    /// The data of its function, which the CPU that has cancelled the timer writes too.
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

    /// Links the timer as `DueQueue::link` does.
    fn link(&self, queue: &mut bool) {
        assert!(!*queue, "it is linked twice");
        self.link.set(self.link.get() + 1);
        *queue = true;
    }

    /// Unlinks the timer as `DueQueue::remove` does.
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

    /// Takes the timer out of its queue as `Scheduler::unset_timer` does.
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

    /// Runs one turn of the loop in `Scheduler::set_timer`; returns whether the loop ends.
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

    /// Runs the timer interrupt of CPU `index`, which calls the function if the timer is in
    /// that CPU's queue.
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

    /// Cancels the timer as `Timer::cancel` does, and frees the data of its function.
    fn cancel(&self) {
        loop {
            self.unset();
            if self.calls.is_at_rest(&self.claim) {
                break;
            }
            // The kernel's wait queue checks again under its lock; the model checks again.
            while !self.calls.has_ended() {
                thread::yield_now();
            }
            thread::yield_now();
        }
        self.data.set(self.data.get() + 1);
        assert!(!*self.lock(0) && !*self.lock(1), "it is still set");
    }

    /// Returns in how many queues the timer is.
    fn found(&self) -> usize {
        (0..2).filter(|index| *self.lock(*index)).count()
    }
}

#[test]
fn two_cpus_that_set_it_at_once_leave_it_in_one_queue() {
    every_order(|| {
        let world = world();
        let other = Arc::clone(&world);
        let setter = thread::spawn(move || other.set(1));
        world.set(0);
        setter.join().expect("a CPU of the model");
        assert_eq!(world.found(), 1);
    });
}

/// One CPU links the timer that another one has unlinked, without having read it before.
#[test]
fn it_is_linked_again_after_it_was_unlinked() {
    every_order(|| {
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
    every_order(|| {
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
    every_order(|| {
        let world = world();
        assert!(world.try_set(0));
        let other = Arc::clone(&world);
        let interrupted = thread::spawn(move || other.interrupt(0, || other.set(0)));
        world.cancel();
        interrupted.join().expect("a CPU of the model");
    });
}

/// The CPU that has adopted the queue still serves it when its own CPU has come back.
#[test]
fn two_cpus_that_serve_its_queue_call_it_once() {
    every_order(|| {
        let world = world();
        assert!(world.try_set(1));
        let other = Arc::clone(&world);
        let adopter = thread::spawn(move || other.interrupt(1, || ()));
        world.interrupt(1, || ());
        world.cancel();
        adopter.join().expect("a CPU of the model");
        assert_eq!(world.data.get(), 2, "one call, and the write of `cancel`");
    });
}

/// Another CPU than its queue's own serves the queue, and sets the timer again in its own.
#[test]
fn one_that_is_served_elsewhere_is_taken_back_all_the_same() {
    every_order(|| {
        let world = world();
        assert!(world.try_set(1));
        let other = Arc::clone(&world);
        let adopter = thread::spawn(move || other.interrupt(1, || other.set(0)));
        world.cancel();
        adopter.join().expect("a CPU of the model");
        assert_eq!(world.found(), 0);
    });
}
