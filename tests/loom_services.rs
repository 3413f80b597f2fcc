//! Model of the life of a per-CPU thread: the kernel's `live` and `KthreadLife`
//! (`sched::kthread_life`), with `BlockState` below. One thread of the model has it begin, park
//! and end, as hotplug does; another one gives it work and wakes it at any time.
//!
//! The scheduler's switch is replaced as in `tests/loom_stopper.rs`.
#![cfg(loom)]

#[path = "support/loom_plain_cpu.rs"]
mod loom_plain_cpu;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
use loom::thread;
use loom_plain_cpu::Cpu;
use loom_word::Word;
use stillpoint::errno::Errno;
use stillpoint::sched::{
    Acts, BlockState, Blocker, KthreadLife, ThreadState, Wakeup, live, next_step, stay,
};

/// What the lock of the run queue guards beside the state of the thread.
#[derive(Default)]
struct Queue {
    /// The thread is parked, and off its CPU.
    stopped: bool,
    /// Whether the setup has succeeded has been told.
    told: bool,
}

struct World {
    life: KthreadLife<Cpu>,
    block_state: BlockState,
    queue: Mutex<Queue>,
    /// Notified when the thread is put on the run queue.
    enqueued: Condvar,
    /// Notified when one of [`Queue`] becomes true.
    changed: Condvar,
    /// How many setups fail before one succeeds.
    refuses: u32,
    work: AtomicBool,
    /// The work goes on for ever, and parks inside of it.
    goes_on: bool,
    /// Only the thread accesses these while it is unparked, and control while it is parked.
    setups: Word,
    unparks: Word,
    parks: Word,
    runs: Word,
    cleanups: Word,
}

impl World {
    fn new(refuses: u32, goes_on: bool) -> Arc<World> {
        Arc::new(World {
            life: KthreadLife::new(),
            block_state: BlockState::new(ThreadState::Parked),
            queue: Mutex::new(Queue::default()),
            enqueued: Condvar::new(),
            changed: Condvar::new(),
            refuses,
            work: AtomicBool::new(goes_on),
            goes_on,
            setups: Word::new(0),
            unparks: Word::new(0),
            parks: Word::new(0),
            runs: Word::new(0),
            cleanups: Word::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("never poisoned")
    }

    /// Applies a wake-up as `Scheduler::apply_wakeup` does.
    fn apply_wakeup(&self, move_fn: impl FnOnce(&BlockState) -> Wakeup) {
        self.under_lock(|state| {
            if move_fn(state) == Wakeup::Enqueue {
                state.set_state(ThreadState::Runnable);
                self.enqueued.notify_one();
            }
        });
    }

    fn wait_for(&self, is_so_fn: impl Fn(&Queue) -> bool) {
        let mut queue = self.lock();
        while !is_so_fn(&queue) {
            queue = self.changed.wait(queue).expect("never poisoned");
        }
    }

    /// Unparks the thread, as `Scheduler::unpark` does.
    fn unpark(&self) {
        self.lock().stopped = false;
        self.block_state
            .unpark(|| self.apply_wakeup(BlockState::end_park));
    }

    /// As `PerCpuThread::start`; returns whether the service is set up.
    fn start(&self) -> bool {
        let is_first = !self.life.is_set_up();
        self.lock().told = false;
        self.unpark();
        if is_first {
            self.wait_for(|queue| queue.told);
            if self.life.take_failure().is_some() {
                self.park_thread();
                return false;
            }
        }
        true
    }

    /// Parks the thread, as `Scheduler::park` does.
    fn park_thread(&self) {
        self.block_state
            .ask_to_park(|| self.apply_wakeup(BlockState::wake));
        self.wait_for(|queue| queue.stopped);
    }

    /// The thread was made parked, and has no CPU that could leave it.
    fn wait_for_first_unpark(&self) {
        let mut queue = self.lock();
        while self.block_state.state() == ThreadState::Parked {
            queue = self.enqueued.wait(queue).expect("never poisoned");
        }
        self.block_state.set_state(ThreadState::Running);
    }

    /// As `PerCpuThread::end`; the caller joins the thread.
    fn end(&self) {
        self.life.end();
        self.unpark();
    }

    /// Gives the thread work and wakes it, as any thread may at any time.
    fn give(&self) {
        self.work.store(true, Ordering::Relaxed);
        self.apply_wakeup(BlockState::wake);
    }
}

impl Blocker for World {
    fn block_state(&self) -> &BlockState {
        &self.block_state
    }

    fn under_lock<R>(&self, move_fn: impl FnOnce(&BlockState) -> R) -> R {
        let _queue = self.lock();
        move_fn(&self.block_state)
    }

    fn schedule(&self) {
        let mut queue = self.lock();
        self.block_state.settle();
        while matches!(
            self.block_state.state(),
            ThreadState::Blocked | ThreadState::Parked
        ) {
            if self.block_state.state() == ThreadState::Parked {
                queue.stopped = true;
                self.changed.notify_one();
            }
            queue = self.enqueued.wait(queue).expect("never poisoned");
        }
        self.block_state.set_state(ThreadState::Running);
    }
}

fn add(word: &Word) {
    word.set(word.get() + 1);
}

impl Acts for World {
    fn begin(&self) {}

    fn setup(&self) -> Result<(), Errno> {
        add(&self.setups);
        match self.setups.get() > self.refuses {
            true => Ok(()),
            false => Err(Errno::Busy),
        }
    }

    fn tell(&self) {
        self.lock().told = true;
        self.changed.notify_one();
    }

    fn unpark(&self) {
        add(&self.unparks);
    }

    fn should_run(&self) -> bool {
        self.work.load(Ordering::Relaxed)
    }

    fn run(&self) -> bool {
        assert_eq!(self.unparks.get(), self.parks.get() + 1, "it works parked");
        add(&self.runs);
        if !self.goes_on {
            self.work.store(false, Ordering::Relaxed);
            return true;
        }
        // Work without an end, which parks inside of it.
        while stay(self, &self.life, self) {
            let _parks_or_was_woken = next_step(self, || false);
        }
        false
    }

    fn park(&self) {
        add(&self.parks);
    }

    fn rest(&self) {}

    fn cleanup(&self) {
        assert_eq!(self.unparks.get(), self.parks.get(), "it works still");
        add(&self.cleanups);
    }
}

/// Runs `control_fn` against the thread, and a waker if one `wakes`; checks that the thread has
/// ended, and has been set up `set_up` times. Each refusal comes before.
fn model(wakes: bool, refuses: u32, set_up: u32, control_fn: fn(&World)) {
    model_of(wakes, refuses, set_up, false, control_fn);
}

fn model_of(wakes: bool, refuses: u32, set_up: u32, goes_on: bool, control_fn: fn(&World)) {
    loom::model(move || {
        let world = World::new(refuses, goes_on);
        let its = Arc::clone(&world);
        let service = thread::spawn(move || {
            its.wait_for_first_unpark();
            live(&*its, &its.life, &*its);
        });
        let its = Arc::clone(&world);
        let waker = wakes.then(|| thread::spawn(move || its.give()));
        control_fn(&world);
        world.end();
        service.join().expect("the thread ends");
        if let Some(waker) = waker {
            waker.join().expect("a waker of the model");
        }
        assert_eq!(world.setups.get(), refuses + set_up);
        assert_eq!(world.cleanups.get(), set_up);
        assert_eq!(world.unparks.get(), world.parks.get());
    });
}

/// It ends without ever having run.
#[test]
fn one_that_never_worked_ends() {
    model(true, 0, 0, |_| {});
}

/// Between a start and a park it works, and not after.
#[test]
fn it_works_unparked_and_cleans_up() {
    model(true, 0, 1, |world| {
        assert!(world.start());
        world.park_thread();
        assert_eq!((world.setups.get(), world.parks.get()), (1, 1));
        assert!(world.runs.get() <= 1);
    });
}

/// It is set up the first time alone.
#[test]
fn it_is_set_up_once() {
    model(false, 0, 1, |world| {
        for _ in 0..2 {
            assert!(world.start());
            world.park_thread();
            assert_eq!(world.setups.get(), 1);
        }
    });
}

/// It refuses, parks, and is set up the next time.
#[test]
fn a_setup_that_fails_is_told_before_anything_else() {
    model(false, 1, 1, |world| {
        world.work.store(true, Ordering::Relaxed);
        assert!(!world.start());
        assert_eq!((world.setups.get(), world.unparks.get()), (1, 0));
        assert_eq!(world.runs.get(), 0);
        assert!(world.start());
        world.park_thread();
    });
}

/// Work that never returns parks inside of it, goes on there, and returns at the end.
#[test]
fn work_that_goes_on_parks_inside_and_returns_when_it_ends() {
    model_of(false, 0, 1, true, |world| {
        for starts in 1..3 {
            assert!(world.start());
            world.park_thread();
            // It may have been asked to park again before it had gone on.
            assert!((1..=starts).contains(&world.parks.get()));
            assert_eq!(world.parks.get(), world.unparks.get());
            assert!(world.runs.get() <= 1, "it goes on where it was");
        }
    });
}
