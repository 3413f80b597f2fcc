//! Model of the lock that keeps CPUs from coming and going: the kernel's
//! `sched::lock::{ReaderCounts, HeldCpusLock}`. A reader and a writer never hold it together,
//! readers see the writer's stores, and a writer that waits is woken. It lends to each reader
//! that it waits for, and nothing is lent at the end.
//!
//! The model adds what `CpusLock` does around it: the list of readers that wait, and the
//! writer's wait queue. A CPU is a mutex, held where preemption is off.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_orders::every_order;
use loom_word::Word;
use stillpoint::cpu::CpuId;
use stillpoint::sched::lock::{HeldCpusLock, ReaderCounts};

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
        self.open();
    }

    /// Lets in the reader that waits, and unblocks the lock, as a writer does that leaves or
    /// gives up.
    fn open(&self) {
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
    every_order(|| {
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
    every_order(|| {
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

/// A writer gives up while a reader is inside. Another one that has come meanwhile is let in,
/// and the next writer waits for both.
#[test]
fn a_writer_that_gives_up_lets_readers_in() {
    loom::model(|| {
        let world = world();
        assert!(world.try_enter(0));
        let reader = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.enter(1);
                let _seen = world.masks.get();
                world.leave(1);
            })
        };
        world.block();
        assert!(!world.counts.is_drained());
        world.open();
        let _seen = world.masks.get();
        world.leave(0);
        world.write(1);
        reader.join().expect("the reader of the model");
        world.counts.block();
        assert!(world.counts.is_drained());
    });
}

/// A reader, and what a writer has lent to it, under the lock of its loans; the second one is
/// the level that it inherits, which the reader reads without that lock.
struct Reader {
    held: HeldCpusLock,
    lent: Mutex<bool>,
    inherits: AtomicBool,
}

impl Reader {
    fn new() -> Reader {
        Reader {
            held: HeldCpusLock::new(),
            lent: Mutex::new(false),
            inherits: AtomicBool::new(false),
        }
    }

    fn inherits(&self) -> bool {
        self.inherits.load(Ordering::Relaxed)
    }

    fn has_a_loan(&self) -> bool {
        *self.lent.lock().expect("never poisoned")
    }

    fn give_back(&self) {
        self.settle(&mut self.lent.lock().expect("never poisoned"), false);
    }

    fn settle(&self, lent: &mut bool, now: bool) {
        *lent = now;
        self.inherits.store(now, Ordering::Relaxed);
    }

    /// Does what a writer that gives up does for each thread.
    fn take_back(&self) {
        self.settle(&mut self.lent.lock().expect("never poisoned"), false);
    }

    /// Does what a writer that waits does for each thread.
    fn lend(&self) {
        if self.held.reads() {
            let mut lent = self.lent.lock().expect("never poisoned");
            if self.held.reads() {
                self.settle(&mut lent, true);
            }
        }
    }
}

impl World {
    /// Does as `CpusLock::try_read` and the drop of its guard. `inside_fn` runs between.
    fn read(&self, reader: &Reader, inside_fn: impl FnOnce()) {
        reader.held.begin_read();
        if !self.try_enter(1) {
            reader.held.end_read();
            reader.give_back();
            return;
        }
        inside_fn();
        reader.held.end_read();
        if self.on(1, |cpu| self.counts.leave(cpu)) || reader.inherits() {
            self.drained.wake();
            reader.give_back();
        }
    }

    fn block(&self) {
        let _readers = self.readers.0.lock().expect("never poisoned");
        self.counts.block();
    }
}

/// A writer that lends and gives up leaves no loan, whenever the reader comes and goes.
#[test]
fn a_writer_that_gives_up_takes_its_loans_back() {
    loom::model(|| {
        let world = world();
        let reader = Arc::new(Reader::new());
        let reads = {
            let (world, reader) = (Arc::clone(&world), Arc::clone(&reader));
            thread::spawn(move || world.read(&reader, || ()))
        };
        world.block();
        if !world.counts.is_drained() {
            reader.lend();
            reader.take_back();
        }
        world.open();
        reads.join().expect("the reader of the model");
        assert!(!reader.has_a_loan());
        world.counts.block();
        assert!(world.counts.is_drained());
    });
}

/// The writer walks over the threads once. A reader that it then waits for has its loan.
#[test]
fn a_writer_that_waits_lends_to_the_reader() {
    every_order(|| {
        let world = world();
        let reader = Arc::new(Reader::new());
        let walked = Arc::new(Queue::new());
        *walked.0.lock().expect("never poisoned") = true;
        let reads = {
            let (world, reader) = (Arc::clone(&world), Arc::clone(&reader));
            let walked = Arc::clone(&walked);
            thread::spawn(move || {
                world.read(&reader, || {
                    let mut waits = walked.0.lock().expect("never poisoned");
                    while *waits {
                        waits = walked.1.wait(waits).expect("never poisoned");
                    }
                    drop(waits);
                    assert!(reader.has_a_loan());
                });
            })
        };
        world.block();
        reader.lend();
        walked.wake();
        world.drained.wait_until(|| world.counts.is_drained());
        reads.join().expect("the reader of the model");
        assert!(!reader.has_a_loan(), "a loan is left");
    });
}

/// A reader comes and leaves, or turns back, while the writer walks.
#[test]
fn a_reader_that_leaves_keeps_no_loan() {
    every_order(|| {
        let world = world();
        let reader = Arc::new(Reader::new());
        let reads = {
            let (world, reader) = (Arc::clone(&world), Arc::clone(&reader));
            thread::spawn(move || world.read(&reader, || ()))
        };
        world.block();
        if !world.counts.is_drained() {
            reader.lend();
        }
        world.drained.wait_until(|| world.counts.is_drained());
        reads.join().expect("the reader of the model");
        assert!(!reader.has_a_loan(), "a loan is left");
    });
}

/// A writer that waits for another reader lends to one that has yet to count itself, and has
/// left when that one comes.
#[test]
fn a_reader_that_comes_behind_the_writer_keeps_no_loan() {
    every_order(|| {
        let world = world();
        let reader = Arc::new(Reader::new());
        let reads = {
            let (world, reader) = (Arc::clone(&world), Arc::clone(&reader));
            thread::spawn(move || world.read(&reader, || ()))
        };
        world.block();
        reader.lend();
        world.drained.wait_until(|| world.counts.is_drained());
        world.counts.unblock();
        reads.join().expect("the reader of the model");
        assert!(!reader.has_a_loan(), "a loan is left");
    });
}

/// A reader waits for one writer, is let in, and the next writer waits for it: that one lends,
/// and the first one did not.
#[test]
fn a_reader_that_is_let_in_gets_the_next_writers_loan() {
    every_order(|| {
        let world = world();
        let reader = Arc::new(Reader::new());
        world.block();
        reader.held.begin_read();
        assert!(!world.try_enter(1));
        {
            // Does as `enter_slowly`.
            let mut waits = world.readers.0.lock().expect("never poisoned");
            reader.held.wait();
            reader.give_back();
            *waits = true;
        }
        reader.lend();
        assert!(!reader.has_a_loan(), "it waits itself");
        let leaves = {
            let (world, reader) = (Arc::clone(&world), Arc::clone(&reader));
            thread::spawn(move || {
                let mut waits = world.readers.0.lock().expect("never poisoned");
                while *waits {
                    waits = world.readers.1.wait(waits).expect("never poisoned");
                }
                drop(waits);
                reader.held.end_read();
                if world.on(1, |cpu| world.counts.leave(cpu)) {
                    world.drained.wake();
                    reader.give_back();
                }
            })
        };
        {
            let mut waits = world.readers.0.lock().expect("never poisoned");
            world.on(0, |cpu| world.counts.let_in(cpu, 1));
            reader.held.let_in();
            *waits = false;
            world.readers.1.notify_one();
            world.counts.unblock();
        }
        world.block();
        if !world.counts.is_drained() {
            reader.lend();
        }
        world.drained.wait_until(|| world.counts.is_drained());
        leaves.join().expect("the reader of the model");
        assert!(!reader.has_a_loan(), "a loan is left");
    });
}

/// A reader that waits gives up while one writer leaves, and another one walks over the
/// threads. It is let in or has given up: it reads alone, or is counted no more, and no loan is
/// left.
#[test]
fn a_reader_that_gives_up_is_in_no_line_and_keeps_no_loan() {
    every_order(|| {
        let world = world();
        let reader = Arc::new(Reader::new());
        world.block();
        reader.held.begin_read();
        assert!(!world.try_enter(1));
        {
            // Does as `enter_slowly`.
            let mut waits = world.readers.0.lock().expect("never poisoned");
            reader.held.wait();
            reader.give_back();
            *waits = true;
        }
        let gives_up = {
            let (world, reader) = (Arc::clone(&world), Arc::clone(&reader));
            thread::spawn(move || {
                {
                    let mut waits = world.readers.0.lock().expect("never poisoned");
                    if *waits {
                        *waits = false;
                        reader.held.give_up();
                        return;
                    }
                }
                let _seen = world.masks.get();
                reader.held.end_read();
                if world.on(1, |cpu| world.counts.leave(cpu)) || reader.inherits() {
                    world.drained.wake();
                    reader.give_back();
                }
            })
        };
        world.masks.set(1);
        {
            // Does as `leave_write`.
            let mut waits = world.readers.0.lock().expect("never poisoned");
            if *waits {
                world.on(0, |cpu| world.counts.let_in(cpu, 1));
                reader.held.let_in();
                *waits = false;
            }
            world.counts.unblock();
        }
        world.block();
        reader.lend();
        world.drained.wait_until(|| world.counts.is_drained());
        world.masks.set(2);
        gives_up.join().expect("the reader of the model");
        assert!(!reader.has_a_loan(), "a loan is left");
        assert!(!reader.held.reads(), "it has left");
        assert!(world.counts.is_drained());
    });
}
