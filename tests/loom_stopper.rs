//! Model of a stopper: the kernel's queue of works (`stop_machine::WorkQueue`), and the way
//! in which its thread blocks and is woken (`sched::BlockState`, `Blocker`, `next_step`).
//!
//! The model replaces the scheduler's switch: a thread that waits doesn't run until a waker
//! has put it on the run queue. The lock of that queue is a mutex.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_plain_cpu.rs"]
mod loom_plain_cpu;
#[path = "support/loom_word.rs"]
mod loom_word;

use core::iter;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_orders::every_order;
use loom_plain_cpu::Cpu;
use loom_word::Word;
use stillpoint::sched::{BlockState, Blocker, KthreadStep, ThreadState, Wakeup, next_step};
use stillpoint::stop_machine::{Behind, WorkNode, WorkQueue, push_everywhere};
use stillpoint::sync::SpinLock;

/// A work in the model.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Counts up the number of runs of the work with this number.
    Count(usize),
    /// The last work: the still point of a take-down, which asks the stopper to park.
    Leave,
}

/// The works that a model counts.
const WORKS: usize = 2;

struct World {
    works: WorkQueue<Task, Cpu>,
    /// The lock of works that wait for each other.
    order: SpinLock<(), Cpu>,
    block_state: BlockState,
    /// The lock of the run queue.
    run_queue: Mutex<()>,
    /// Notified when the thread is put on the run queue.
    enqueued: Condvar,
    /// Written before each work is queued, read where it runs.
    given: [Word; WORKS],
    /// How often each work has run. Only the stopper accesses this.
    ran: [Word; WORKS],
    /// Written before another thread asks the thread to park, read by it as it parks.
    asked: Word,
    /// Written by the thread once it is parked, and by the thread that then unparks it.
    parked: Word,
}

fn world(state: ThreadState) -> Arc<World> {
    let world = World {
        works: WorkQueue::new(),
        order: SpinLock::new(()),
        block_state: BlockState::new(state),
        run_queue: Mutex::new(()),
        enqueued: Condvar::new(),
        given: [Word::new(0), Word::new(0)],
        ran: [Word::new(0), Word::new(0)],
        asked: Word::new(0),
        parked: Word::new(0),
    };
    if state != ThreadState::Parked {
        world.works.enable();
    }
    Arc::new(world)
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
        while matches!(
            self.block_state.state(),
            ThreadState::Blocked | ThreadState::Parked
        ) {
            queue = self.enqueued.wait(queue).expect("never poisoned");
        }
        self.block_state.set_state(ThreadState::Running);
    }
}

impl World {
    /// Applies a wake-up as `Scheduler::apply_wakeup` does.
    fn apply_wakeup(&self, move_fn: impl FnOnce(&BlockState) -> Wakeup) {
        self.under_lock(|state| match move_fn(state) {
            Wakeup::Nothing | Wakeup::GoesOn => {}
            Wakeup::Enqueue => {
                state.set_state(ThreadState::Runnable);
                self.enqueued.notify_one();
            }
        });
    }

    /// Wakes the stopper, as the stop SGI does.
    fn wake(&self) {
        self.apply_wakeup(BlockState::wake);
    }

    /// Queues a work, as any CPU may; returns whether it was accepted.
    fn queue(&self, task: Task) -> bool {
        if let Task::Count(work) = task {
            self.given[work].set(1);
        }
        // A queue keeps references without an end.
        let node = Box::leak(Box::new(WorkNode::new(task)));
        let accepted = match task {
            Task::Count(_) => self.works.push(node),
            Task::Leave => {
                let last = iter::once((&self.works, &*node, Behind::Refused));
                push_everywhere(&self.order, last).is_ok()
            }
        };
        if accepted {
            self.wake();
        }
        accepted
    }

    fn ask_to_park(&self) {
        self.asked.set(1);
        self.block_state.ask_to_park(|| self.wake());
    }

    fn unpark(&self) {
        self.block_state
            .unpark(|| self.apply_wakeup(BlockState::end_park));
    }

    /// Runs one work, if there is any, as `StopperService` does.
    fn run_one(&self) -> bool {
        let Some(node) = self.works.pop() else {
            return false;
        };
        match *node.work() {
            Task::Count(work) => {
                assert_eq!(self.given[work].get(), 1);
                self.ran[work].set(self.ran[work].get() + 1);
            }
            Task::Leave => {
                // What was accepted has run, and nothing comes behind.
                assert!(!self.works.has_work() && !self.works.is_enabled());
                self.ask_to_park();
            }
        }
        true
    }

    fn ran(&self) -> u32 {
        self.ran.iter().map(Word::get).sum()
    }

    /// Runs the thread's loop (`serve` in `sched::kthread`) until `end_fn` returns true before
    /// a check for work, or until the thread would park.
    fn serve(&self, end_fn: impl Fn(&World) -> bool) -> bool {
        while !end_fn(self) {
            match next_step(self, || self.works.has_work()) {
                KthreadStep::Park => {
                    assert_eq!(self.asked.get(), 1);
                    return true;
                }
                KthreadStep::Run => {
                    self.run_one();
                }
                KthreadStep::Again => {}
            }
        }
        false
    }
}

fn spawn(
    world: &Arc<World>,
    body: impl FnOnce(&World) -> bool + 'static,
) -> thread::JoinHandle<bool> {
    let world = Arc::clone(world);
    thread::spawn(move || body(&world))
}

/// Two CPUs queue works while the stopper goes to sleep. Each work runs once.
#[test]
fn works_from_two_cpus_all_run_once() {
    every_order(|| {
        let world = world(ThreadState::Running);
        let first = spawn(&world, |world| world.queue(Task::Count(0)));
        let second = spawn(&world, |world| world.queue(Task::Count(1)));
        // A lost wake-up is a deadlock here.
        world.serve(|world| world.ran() == 2);
        assert!(first.join().expect("accepts") && second.join().expect("accepts"));
        assert_eq!((world.ran[0].get(), world.ran[1].get()), (1, 1));
        assert!(!world.works.has_work());
    });
}

/// The last work of the stopper is queued and has it park, while another CPU queues a work.
/// That work has run when the last one begins, or was refused.
#[test]
fn what_was_accepted_has_run_before_the_last_work() {
    every_order(|| {
        let world = world(ThreadState::Running);
        let other = spawn(&world, |world| world.queue(Task::Count(0)));
        assert!(world.queue(Task::Leave));
        assert!(world.serve(|_| false), "it parks");
        let accepted = other.join().expect("an answer");
        assert_eq!(world.ran[0].get(), u32::from(accepted));
        assert!(!world.works.has_work() && !world.works.is_enabled());
    });
}

/// The stopper is asked to park while it goes to sleep, and nothing else comes. It parks.
#[test]
fn asked_to_park_it_does() {
    every_order(|| {
        let world = world(ThreadState::Running);
        let control = spawn(&world, |world| {
            world.ask_to_park();
            true
        });
        assert!(world.serve(|_| false), "it parks");
        control.join().expect("a CPU of the model");
    });
}

/// The stopper is parked, and another CPU unparks it and then queues a work. The unpark may
/// come before the thread has parked.
#[test]
fn it_comes_back_and_works_again() {
    every_order(|| {
        let world = world(ThreadState::Running);
        let control = spawn(&world, |world| {
            world.ask_to_park();
            world.parked.set(1);
            world.unpark();
            world.works.enable();
            world.queue(Task::Count(0))
        });
        let mut asked = false;
        while world.ran() == 0 {
            if world.serve(|world| world.ran() == 1) {
                asked = true;
                world.park();
                // The stores before the unpark are visible.
                assert_eq!(world.parked.get(), 1);
            }
        }
        assert!(control.join().expect("accepts"));
        assert!(asked || !world.block_state.should_park());
        assert_eq!(world.ran[0].get(), 1);
    });
}

/// A plain wake, as by an old SGI, doesn't unpark a parked thread, and doesn't spoil the
/// unpark that comes at the same time.
#[test]
fn a_wake_is_no_unpark() {
    every_order(|| {
        let world = world(ThreadState::Running);
        world.ask_to_park();
        let stale = spawn(&world, |world| {
            world.wake();
            true
        });
        let control = spawn(&world, |world| {
            world.parked.set(1);
            world.unpark();
            true
        });
        world.park();
        assert_eq!(world.parked.get(), 1);
        for other in [stale, control] {
            other.join().expect("a CPU of the model");
        }
        assert_eq!(world.block_state.state(), ThreadState::Running);
    });
}

/// If a thread is seen to have ended, all that it did is visible. So a scope may end and give
/// its caller back what the thread borrowed.
#[test]
fn what_an_ended_thread_did_is_seen() {
    every_order(|| {
        let world = world(ThreadState::Running);
        let thread = spawn(&world, |world| {
            world.asked.set(1); // The thread's body.
            world.under_lock(|state| state.set_state(ThreadState::Dead)); // Its last act.
            world.block_state.end(); // Its CPU, on the next thread's stack.
            true
        });
        if world.block_state.has_ended() {
            assert_eq!(world.asked.get(), 1);
        }
        assert!(thread.join().expect("a CPU of the model"));
        assert!(world.block_state.has_ended());
    });
}
