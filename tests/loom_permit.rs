//! Model of a permit: the kernel's `sched::Permit`, with the states of a thread
//! (`sched::BlockState`). No permit is lost, none is taken twice, and the stores before a
//! permit was given are visible to the thread that takes it.
//!
//! The model replaces the scheduler's switch, as `tests/loom_stopper.rs` does. The lock of
//! the run queue is a mutex.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_orders::every_order;
use loom_word::Word;
use stillpoint::sched::{BlockState, Blocker, Permit, ThreadState, Wakeup};

struct World {
    permit: Permit,
    block_state: BlockState,
    /// The lock of the run queue.
    run_queue: Mutex<()>,
    /// Notified when the thread is put on the run queue.
    enqueued: Condvar,
    /// Written before the permit is given, read by the thread that has taken it.
    given: Word,
}

fn world() -> Arc<World> {
    Arc::new(World {
        permit: Permit::new(),
        block_state: BlockState::new(ThreadState::Running),
        run_queue: Mutex::new(()),
        enqueued: Condvar::new(),
        given: Word::new(0),
    })
}

impl Blocker for World {
    fn block_state(&self) -> &BlockState {
        &self.block_state
    }

    fn under_lock<R>(&self, move_fn: impl FnOnce(&BlockState) -> R) -> R {
        let _queue = self.run_queue.lock().expect("never poisoned");
        move_fn(&self.block_state)
    }

    fn schedule(&self) {
        let mut queue = self.run_queue.lock().expect("never poisoned");
        self.block_state.settle();
        while self.block_state.state() == ThreadState::Blocked {
            queue = self.enqueued.wait(queue).expect("never poisoned");
        }
        self.block_state.set_state(ThreadState::Running);
    }
}

impl World {
    fn wake(&self) {
        self.under_lock(|state| match state.wake() {
            Wakeup::Nothing | Wakeup::GoesOn => {}
            Wakeup::Enqueue => {
                state.set_state(ThreadState::Runnable);
                self.enqueued.notify_one();
            }
        });
    }

    fn give(&self) {
        self.permit.give(|| self.wake());
    }

    fn wait(&self, is_late_fn: impl Fn() -> bool) -> bool {
        self.permit.wait(self, is_late_fn, || self.schedule())
    }
}

/// The thread sleeps until the permit comes. Loom fails a model in which it never wakes.
#[test]
fn a_permit_is_not_lost_and_brings_what_was_done_before() {
    every_order(|| {
        let world = world();
        let giving = Arc::clone(&world);
        let giver = thread::spawn(move || {
            giving.given.set(1);
            giving.give();
        });
        assert!(world.wait(|| false));
        assert_eq!(world.given.get(), 1);
        giver.join().expect("a thread of the model");
        assert!(!world.permit.take(), "it was taken once");
    });
}

/// The thread doesn't wait, but finds the permit.
#[test]
fn a_permit_that_is_found_brings_what_was_done_before() {
    every_order(|| {
        let world = world();
        let giving = Arc::clone(&world);
        let giver = thread::spawn(move || {
            giving.given.set(1);
            giving.give();
        });
        if world.permit.take() {
            assert_eq!(world.given.get(), 1);
        }
        giver.join().expect("a thread of the model");
    });
}

/// Two threads give the permit, and other wakes come in between.
#[test]
fn two_givers_give_one_or_two() {
    every_order(|| {
        let world = world();
        let giving = Arc::clone(&world);
        let giver = thread::spawn(move || {
            giving.wake();
            giving.give();
        });
        world.give();
        assert!(world.wait(|| false));
        giver.join().expect("a thread of the model");
        let left = u32::from(world.permit.take()) + u32::from(world.permit.take());
        assert!(left <= 1, "there is one at most");
    });
}

#[test]
fn a_thread_that_is_late_leaves_the_permit() {
    loom::model(|| {
        let world = world();
        assert!(!world.wait(|| true));
        world.give();
        assert!(world.wait(|| true));
    });
}

/// The thread is asked to park, which ends its wait for a permit. Loom fails a model in which it
/// never ends.
#[test]
fn a_wait_that_is_called_off_ends() {
    every_order(|| {
        let world = world();
        let asking = Arc::clone(&world);
        let asker = thread::spawn(move || {
            asking.block_state.ask_to_park(|| asking.wake());
        });
        assert!(!world.wait(|| world.block_state.should_park()));
        asker.join().expect("a thread of the model");
    });
}
