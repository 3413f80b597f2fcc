//! Model of the lock that keeps CPUs from coming and going: the kernel's
//! `sched::lock::ReaderCounts`. A reader and a writer never hold it together, readers see
//! the writer's stores, and a writer that waits is woken.
//!
//! The model adds what `CpusLock` does around it: the list of readers that wait, and the
//! writer's wait queue. A CPU is a mutex, held where preemption is off.
#![cfg(loom)]

#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_word::Word;
use stillpoint::cpu::CpuId;
use stillpoint::sched::lock::ReaderCounts;

/// A wait queue of one thread: whether the thread waits, under the queue's lock.
struct Queue(Mutex<bool>, Condvar);

impl Queue {
    fn new() -> Queue {
        Queue(Mutex::new(false), Condvar::new())
    }

    /// Waits as `WaitQueue::wait_until` does: it queues the thread before it checks the
    /// condition.
    fn wait_until(&self, ready_fn: impl Fn() -> bool) {
        loop {
            *self.0.lock().expect("never poisoned") = true;
            let ready = ready_fn();
            let mut waits = self.0.lock().expect("never poisoned");
            if ready {
                *waits = false;
                return;
            }
            while *waits {
                waits = self.1.wait(waits).expect("never poisoned");
            }
        }
    }

    fn wake(&self) {
        *self.0.lock().expect("never poisoned") = false;
        self.1.notify_one();
    }
}

struct World {
    counts: ReaderCounts,
    cpus: [Mutex<()>; 2],
    /// The reader that waits for the writer to release the lock; there is one at most.
    readers: Queue,
    drained: Queue,
    /// A word that the writer writes and readers read. Loom fails the model if both hold the
    /// lock.
    masks: Word,
}

fn world() -> Arc<World> {
    Arc::new(World {
        counts: ReaderCounts::new(2),
        cpus: [Mutex::new(()), Mutex::new(())],
        readers: Queue::new(),
        drained: Queue::new(),
        masks: Word::new(0),
    })
}

impl World {
    /// Calls `call_fn` on CPU `index`, while no other thread runs on that CPU.
    fn on<R>(&self, index: usize, call_fn: impl FnOnce(CpuId) -> R) -> R {
        let _here = self.cpus[index].lock().expect("never poisoned");
        call_fn(CpuId::new(index).expect("few"))
    }

    /// Tries to take the lock as a reader on CPU `index`; returns whether it was taken.
    fn try_enter(&self, index: usize) -> bool {
        let entered = self.on(index, |cpu| self.counts.try_enter(cpu));
        if !entered {
            self.drained.wake();
        }
        entered
    }

    /// Takes the lock as a reader on CPU `index`, and waits for a writer if it must.
    fn enter(&self, index: usize) {
        if self.try_enter(index) {
            return;
        }
        let mut waits = self.readers.0.lock().expect("never poisoned");
        if !self.counts.is_blocked() {
            self.on(index, |cpu| self.counts.let_in(cpu, 1));
            return;
        }
        *waits = true;
        while *waits {
            waits = self.readers.1.wait(waits).expect("never poisoned");
        }
    }

    fn leave(&self, index: usize) {
        if self.on(index, |cpu| self.counts.leave(cpu)) {
            self.drained.wake();
        }
    }

    /// Takes the lock as a writer on CPU 0, writes `value`, and releases the lock.
    fn write(&self, value: u32) {
        {
            let _readers = self.readers.0.lock().expect("never poisoned");
            self.counts.block();
        }
        self.drained.wait_until(|| self.counts.is_drained());
        self.masks.set(value);
        let mut waits = self.readers.0.lock().expect("never poisoned");
        if *waits {
            self.on(0, |cpu| self.counts.let_in(cpu, 1));
            *waits = false;
            self.readers.1.notify_one();
        }
        self.counts.unblock();
    }
}

/// One reader takes the lock on one CPU and releases it on the other. A reader that finds a
/// writer turns back.
#[test]
fn readers_and_a_writer_are_never_inside_together() {
    loom::model(|| {
        let world = world();
        let readers: Vec<_> = [(0, 1), (1, 1)]
            .into_iter()
            .map(|(first, last)| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    if world.try_enter(first) {
                        let _seen = world.masks.get();
                        world.leave(last);
                    }
                })
            })
            .collect();
        world.write(1);
        for reader in readers {
            reader.join().expect("a reader of the model");
        }
        world.counts.block();
        assert!(world.counts.is_drained());
    });
}

/// A reader that waits takes the lock between two writers, and the second writer waits for
/// it.
#[test]
fn a_reader_that_waits_is_let_in_before_the_next_writer() {
    loom::model(|| {
        let world = world();
        let reader = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.enter(1);
                let seen = world.masks.get();
                world.leave(1);
                seen
            })
        };
        world.write(1);
        world.write(2);
        assert!(reader.join().expect("the reader of the model") <= 2);
        world.counts.block();
        assert!(world.counts.is_drained());
    });
}
