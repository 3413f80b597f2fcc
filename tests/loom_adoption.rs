//! Model of timers whose CPU goes and comes back: the kernel's `sched::Serving`, which says
//! which CPU serves a queue, with `sched::Claim`, which says which queue holds an entry. An
//! entry that is due is taken out once, by the CPU that serves its queue, or is cancelled.
//!
//! A queue of the model is a mutex around its `Serving`, a flag that says whether the one entry
//! is in it, and the CPU that serves it, as the model has it. The model repeats the code that
//! `Scheduler::adopt_timers`, `serve_timers` and `pop_expired` have around the two. Hotplug's
//! lock lets one CPU go or come at a time.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::{Arc, Mutex, MutexGuard};
use loom::thread::{self, JoinHandle};
use loom_orders::every_order;
use loom_word::Word;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::sched::{Claim, Serving};

const CPUS: usize = 3;

struct Queue {
    serving: Serving,
    /// The CPU that serves the queue: what [`Serving`] is to say.
    server: usize,
    /// Whether the entry is in the queue.
    holds: bool,
    /// Whether the CPU's timer is set for an entry of a queue that it serves.
    armed: bool,
}

struct World {
    claim: Claim,
    queues: [Mutex<Queue>; CPUS],
    /// How often the entry has come due or was cancelled; under no lock of its own.
    ended: Word,
}

fn cpu(index: usize) -> CpuId {
    CpuId::new(index).expect("a small number")
}

fn world() -> Arc<World> {
    let queue = |index| {
        Mutex::new(Queue {
            serving: Serving::new(cpu(index)),
            server: index,
            holds: false,
            armed: false,
        })
    };
    Arc::new(World {
        claim: Claim::new(),
        queues: core::array::from_fn(queue),
        ended: Word::new(0),
    })
}

impl World {
    fn lock(&self, index: usize) -> MutexGuard<'_, Queue> {
        self.queues[index].lock().expect("never poisoned")
    }

    /// Puts the entry into the queue of CPU `index`, which is online.
    fn set(&self, index: usize) {
        let mut queue = self.lock(index);
        assert!(self.claim.enter(cpu(index)), "it is set once");
        queue.holds = true;
        queue.armed = true;
    }

    /// Takes the entry out of the queue of CPU `index`.
    fn take(&self, queue: &mut Queue) {
        queue.holds = false;
        self.ended.set(self.ended.get() + 1);
        self.claim.leave();
    }

    /// Cancels the entry as `Scheduler::lock_timers_of` finds it.
    fn cancel(&self) {
        while let Some(there) = self.claim.queue() {
            let mut queue = self.lock(there.index());
            if self.claim.queue() == Some(there) {
                assert!(queue.holds, "it is not where it says");
                self.take(&mut queue);
                return;
            }
        }
    }

    /// CPU `index` adopts the queues of CPU `from`, which has gone.
    fn adopt(&self, from: usize, index: usize) {
        let left = {
            let mut gone = self.lock(from);
            let left = gone.serving.leave();
            assert_eq!(gone.serving.adopted(), CpuMask::EMPTY);
            left
        };
        let mut adopted = CpuMask::EMPTY;
        let mut armed = false;
        for there in left.iter() {
            let mut queue = self.lock(there.index());
            if queue.server == from {
                queue.server = index;
            }
            if queue.serving.hand_over(cpu(from), cpu(index)) {
                adopted.insert(there);
                armed |= queue.holds;
            }
        }
        let mut own = self.lock(index);
        own.serving.adopt(&adopted);
        own.armed |= armed;
    }

    /// CPU `index` has come back and serves its queue.
    fn serve(&self, index: usize) {
        let mut queue = self.lock(index);
        queue.server = index;
        queue.serving.serve_own();
        queue.armed = queue.holds;
    }

    /// Runs the timer interrupt of CPU `index`, at which all that is set is due.
    fn interrupt(&self, index: usize) {
        let adopted = {
            let mut own = self.lock(index);
            if own.holds {
                assert_eq!(own.server, index, "it serves its own queue");
                self.take(&mut own);
            }
            own.serving.adopted()
        };
        let mut elsewhere = CpuMask::EMPTY;
        for there in adopted.iter() {
            let mut queue = self.lock(there.index());
            if !queue.serving.is_served_by(cpu(index)) {
                elsewhere.insert(there);
                continue;
            }
            assert_eq!(queue.server, index, "two CPUs serve one queue");
            if queue.holds {
                self.take(&mut queue);
            }
        }
        let mut own = self.lock(index);
        own.serving.forget(&elsewhere);
        own.armed = false;
    }

    /// Checks that the entry has ended once, or waits where a timer is set for it. `adopted`
    /// is what CPU 0 is to know of the queues that it serves.
    fn check(&self, adopted: &CpuMask) {
        assert!(self.ended.get() <= 1, "it was taken out twice");
        if let Some(there) = self.claim.queue() {
            let server = self.lock(there.index()).server;
            assert!(self.lock(server).armed, "no timer is set for it");
        } else {
            assert_eq!(self.ended.get(), 1, "it is lost");
        }
        for index in 0..CPUS {
            let (served_by, server) = {
                let queue = self.lock(index);
                let is_so = |other: &usize| queue.serving.is_served_by(cpu(*other));
                ((0..CPUS).filter(is_so).collect::<Vec<_>>(), queue.server)
            };
            assert_eq!(served_by, [server]);
            let known = server == index || self.lock(server).serving.adopted().contains(cpu(index));
            assert!(known, "CPU {server} does not know that it serves {index}");
        }
        assert_eq!(self.lock(0).serving.adopted(), *adopted);
    }
}

fn beside(world: &Arc<World>, run_fn: impl FnOnce(&World) + 'static) -> JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || run_fn(&world))
}

/// CPU 1 comes back while its adopter's timer interrupts and a sleeper cancels.
#[test]
fn it_ends_once_while_its_cpu_comes_back() {
    every_order(|| {
        let world = world();
        world.set(1);
        world.adopt(1, 0);
        let back = beside(&world, |world| {
            world.serve(1);
            world.interrupt(1);
        });
        let sleeper = beside(&world, World::cancel);
        world.interrupt(0);
        back.join().expect("a CPU of the model");
        sleeper.join().expect("a CPU of the model");
        // From here on CPU 1 serves its queue, and CPU 0 finds that out.
        world.interrupt(0);
        assert_eq!(world.claim.queue(), None, "it was due");
        world.check(&CpuMask::EMPTY);
    });
}

/// CPU 1 goes while a sleeper cancels an entry there; its adopter's timer interrupts after that.
#[test]
fn it_ends_once_while_its_cpu_is_adopted() {
    every_order(|| {
        let world = world();
        world.set(1);
        let sleeper = beside(&world, World::cancel);
        world.adopt(1, 0);
        assert!(
            world.claim.queue().is_none() || world.lock(0).armed,
            "no timer is set for it"
        );
        world.interrupt(0);
        sleeper.join().expect("a CPU of the model");
        assert_eq!(world.claim.queue(), None, "it was due");
        world.check(&CpuMask::of(cpu(1)));
    });
}

/// CPU 0 adopts a second queue and serves both while a sleeper cancels in the first.
#[test]
fn a_cpu_serves_all_that_it_has_adopted() {
    every_order(|| {
        let world = world();
        world.set(1);
        world.adopt(1, 0);
        let sleeper = beside(&world, World::cancel);
        world.adopt(2, 0);
        world.interrupt(0);
        sleeper.join().expect("a CPU of the model");
        world.check(&CpuMask::of(cpu(1)).or(&CpuMask::of(cpu(2))));
        assert_eq!(world.claim.queue(), None, "it was due");
    });
}

/// CPU 2 had adopted the queue and goes itself, while a sleeper cancels.
#[test]
fn an_adopters_queues_are_adopted_with_its_own() {
    every_order(|| {
        let world = world();
        world.set(1);
        world.adopt(1, 2);
        let sleeper = beside(&world, World::cancel);
        world.adopt(2, 0);
        sleeper.join().expect("a CPU of the model");
        world.check(&CpuMask::of(cpu(1)).or(&CpuMask::of(cpu(2))));
        world.interrupt(0);
        world.check(&CpuMask::of(cpu(1)).or(&CpuMask::of(cpu(2))));
    });
}

/// CPU 1 is back when CPU 2 goes, which had adopted its queue and doesn't know that yet. The
/// timer of CPU 1 interrupts meanwhile.
#[test]
fn a_queue_whose_cpu_is_back_is_not_adopted_with_others() {
    every_order(|| {
        let world = world();
        world.set(1);
        world.adopt(1, 2);
        world.serve(1);
        let interrupted = beside(&world, |world| world.interrupt(1));
        world.adopt(2, 0);
        world.interrupt(0);
        interrupted.join().expect("a CPU of the model");
        world.check(&CpuMask::of(cpu(2)));
    });
}
