//! Model of the lock that keeps CPUs from coming and going (`sched::lock::ReaderCounts`),
//! from the file that ships: a reader and a writer are never inside together, readers
//! see what the writer did, and a writer that waits is told.
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

/// Whether a thread waits, under the queue's lock.
struct Queue(Mutex<bool>, Condvar);

impl Queue {
    fn new() -> Queue {
        Queue(Mutex::new(false), Condvar::new())
    }

    /// As `WaitQueue::wait_until`: queued first, then the look.
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
    /// Readers that wait for the writer to leave; one at most.
    readers: Queue,
    drained: Queue,
    /// Written by the writer, read by readers: loom fails the model if both are inside.
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
    /// Calls `call_fn` on CPU `index`, which nothing else runs on meanwhile.
    fn on<R>(&self, index: usize, call_fn: impl FnOnce(CpuId) -> R) -> R {
        let _here = self.cpus[index].lock().expect("never poisoned");
        call_fn(CpuId::new(index).expect("few"))
    }

    /// Comes on CPU `index`; returns whether it is in.
    fn try_enter(&self, index: usize) -> bool {
        let entered = self.on(index, |cpu| self.counts.try_enter(cpu));
        if !entered {
            self.drained.wake();
        }
        entered
    }

    /// Comes on CPU `index`, and waits for a writer to leave if it must.
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

    /// Comes on CPU 0, writes `value`, and goes.
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

/// One reader comes on one CPU and goes on the other. A reader that finds a writer turns back.
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

/// A reader that waits is let in between two writers, and the second waits for it.
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
