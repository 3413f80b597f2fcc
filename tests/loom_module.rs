//! Model of references to a module: the kernel's `module::References`. An unload that succeeded
//! has seen every reference, a put wakes the thread that waits for it, and all that was done
//! with a value is over when it is taken out.
//!
//! A CPU is a mutex, held where a section keeps its CPU, and the still point holds those of all
//! CPUs. A thread's own mutex is held where the thread doesn't sleep: a stop that lets preempted
//! threads go on first holds those of all threads too.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_wait_queue.rs"]
mod loom_wait_queue;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::{Arc, Mutex};
use loom::thread;
use loom_orders::every_order;
use loom_wait_queue::WaitQueue;
use loom_word::Word;
use stillpoint::cpu::CpuId;
use stillpoint::module::{Atomic, Kind, ModuleState, Plain, References, Stays, Wanted};

/// How the machine is stopped.
#[derive(Clone, Copy)]
enum Stop {
    Classic,
    /// After each preempted thread has slept.
    Flush,
}

struct World<K> {
    references: References<K>,
    cpus: [Mutex<()>; 2],
    /// Held by the thread of the model that takes references, where it doesn't sleep.
    awake: Mutex<()>,
    drained: WaitQueue,
    /// The value of the module. Loom fails the model if it changes while it is read.
    value: Word,
}

fn cpu(index: usize) -> CpuId {
    CpuId::new(index).expect("few")
}

impl<K: Kind> World<K> {
    /// Returns a module that is live, with the value 1.
    fn live() -> Arc<World<K>> {
        let world = World {
            references: References::new(2),
            cpus: [Mutex::new(()), Mutex::new(())],
            awake: Mutex::new(()),
            drained: WaitQueue::new(),
            value: Word::new(0),
        };
        world.load(1);
        Arc::new(world)
    }

    /// Loads the module, if none is loaded.
    fn load(&self, value: u32) -> bool {
        if self.references.claim().is_err() {
            return false;
        }
        self.value.set(value);
        self.section(0, |cpu| self.references.come(cpu));
        self.references.live();
        self.put(0);
        true
    }

    fn section<R>(&self, index: usize, call_fn: impl FnOnce(CpuId) -> R) -> R {
        let _here = K::KEEPS_CPU.then(|| self.cpus[index].lock().expect("never poisoned"));
        call_fn(cpu(index))
    }

    fn try_get(&self, index: usize) -> bool {
        let _awake = self.awake.lock().expect("never poisoned");
        self.section(index, |cpu| self.references.try_get(cpu))
    }

    fn put(&self, index: usize) {
        let here = || self.cpus[index].lock().expect("never poisoned");
        let mut held = here();
        self.references.put(cpu(index));
        if !K::KEEPS_CPU {
            // A still point may come between, but not into the middle of an instruction.
            drop(held);
            held = here();
        }
        let goes = self.references.goes();
        drop(held);
        if goes {
            self.drained.wake();
        }
    }

    fn go(&self, stop: Stop, wanted: Wanted) -> Result<(), Stays> {
        let _flushed = match stop {
            Stop::Classic => None,
            Stop::Flush => Some(self.awake.lock().expect("never poisoned")),
        };
        let _still = [0, 1].map(|index| self.cpus[index].lock().expect("never poisoned"));
        self.references.go(ModuleState::Live, wanted)
    }

    /// Takes the value out of a module that has gone.
    fn take_out(&self) {
        assert_eq!(self.references.total(), 0, "a reference is left");
        self.value.set(99);
        self.references.gone();
    }

    /// Takes a reference on CPU 1, reads the value, and puts the reference on CPU 0.
    fn read(&self) -> bool {
        let got = self.try_get(1);
        if got {
            assert_ne!(self.value.get(), 99, "the module is gone");
            self.put(0);
        }
        got
    }

    /// Does as `Module::unload_until` without a limit.
    fn unload(&self) {
        self.go(Stop::Classic, Wanted::Any).expect("it is live");
        self.drained.wait(|| self.references.total() == 0);
        self.take_out();
    }
}

fn try_unload_beside_a_reader<K: Kind + Send + Sync + 'static>(stop: Stop) {
    every_order(move || {
        let world = World::<K>::live();
        let reads = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.read())
        };
        match world.go(stop, Wanted::Unused) {
            Ok(()) => world.take_out(),
            Err(why) => assert_eq!(why, Stays::InUse(1)),
        }
        reads.join().expect("the reader of the model");
        assert_eq!(world.references.total(), 0);
    });
}

/// A plain count, and the classic still point.
#[test]
fn an_unload_that_succeeded_has_seen_every_reference() {
    try_unload_beside_a_reader::<Plain>(Stop::Classic);
}

/// A count that is changed with preemption on, and a stop that waits for preempted threads.
#[test]
fn a_stop_that_flushes_sees_the_references_of_preempted_threads() {
    try_unload_beside_a_reader::<Atomic>(Stop::Flush);
}

/// The same with the classic still point: it comes between the look and the count.
#[test]
#[should_panic(expected = "Concurrent read and write accesses")]
fn the_classic_still_point_misses_a_preempted_thread() {
    try_unload_beside_a_reader::<Atomic>(Stop::Classic);
}

/// The unload waits for the reader, whose put wakes it.
#[test]
fn a_put_behind_the_still_point_wakes_the_unload() {
    every_order(|| {
        let world = World::<Plain>::live();
        let reads = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.read())
        };
        world.unload();
        reads.join().expect("the reader of the model");
    });
}

/// The same for a count that is changed with preemption on: a put needs no section.
#[test]
fn a_put_of_a_preempted_thread_wakes_the_unload() {
    every_order(|| {
        let world = World::<Atomic>::live();
        assert!(world.try_get(1));
        let reads = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                assert_eq!(world.value.get(), 1);
                world.put(0);
            })
        };
        world.unload();
        reads.join().expect("the reader of the model");
    });
}

/// A thread takes its second reference on one CPU and puts its first one on another, while the
/// unload sums up.
#[test]
fn a_reference_that_is_passed_on_is_not_missed() {
    every_order(|| {
        let world = World::<Plain>::live();
        assert!(world.try_get(1));
        let reads = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.section(1, |cpu| world.references.get_again(cpu));
                world.put(0);
                assert_eq!(world.value.get(), 1);
                world.put(1);
            })
        };
        world.unload();
        reads.join().expect("the reader of the model");
    });
}

/// The module is unloaded and loaded again, by another thread, beside a reader: that one sees a
/// whole value.
#[test]
fn a_module_that_is_loaded_again_is_whole() {
    every_order(|| {
        let world = World::<Plain>::live();
        let reads = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.read())
        };
        let loads = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.load(2))
        };
        world.unload();
        reads.join().expect("the reader of the model");
        loads.join().expect("the loader of the model");
        assert_eq!(world.references.total(), 0);
    });
}

/// An unload gives up while there is a reference. A reader that comes then sees the value, and
/// the next unload sees the reader.
#[test]
fn a_module_that_stays_is_live_again() {
    every_order(|| {
        let world = World::<Plain>::live();
        assert!(world.try_get(0));
        let reads = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.read())
        };
        world.go(Stop::Classic, Wanted::Any).expect("it is live");
        assert_ne!(world.references.total(), 0);
        world.references.live();
        world.put(0);
        world.unload();
        reads.join().expect("the reader of the model");
    });
}

/// Two threads unload: one does.
#[test]
fn one_of_two_unloads_does_it() {
    every_order(|| {
        let world = World::<Plain>::live();
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let went = world.go(Stop::Classic, Wanted::Unused);
                went.map(|()| world.take_out()).is_ok()
            })
        };
        let went = world.go(Stop::Classic, Wanted::Unused);
        let one = went.map(|()| world.take_out()).is_ok();
        let other = other.join().expect("the other thread of the model");
        assert!(one != other);
        assert_eq!(world.references.state(), ModuleState::Unloaded);
    });
}
