//! Model of the workers of a pool: the kernel's `pool::Board` and `pool::Job`. Each job is done
//! once, whatever CPU goes meanwhile, and none waits while a worker sleeps.
//!
//! A worker's sleep is a condition variable, with the permit that `tests/loom_permit.rs` models.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_plain_cpu.rs"]
mod loom_plain_cpu;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_orders::every_order;
use loom_plain_cpu::Cpu;
use stillpoint::cpu::CpuId;
use stillpoint::pool::{Board, Job, Next, Runner};

const CPUS: usize = 2;

/// What the threads of the model tell each other.
#[derive(Default)]
struct Notes {
    /// Which workers have a permit.
    permits: [bool; CPUS],
    /// How often each job was done.
    done: [u32; 2],
}

struct World {
    board: Board<Cpu>,
    notes: Mutex<Notes>,
    /// Notified when the notes have changed.
    changed: Condvar,
}

fn cpu(index: usize) -> CpuId {
    CpuId::from_index(index)
}

impl World {
    /// Returns a pool whose workers serve, and that hasn't a job.
    fn new() -> Arc<World> {
        let world = World {
            board: Board::new(CPUS),
            notes: Mutex::new(Notes::default()),
            changed: Condvar::new(),
        };
        for index in 0..CPUS {
            world.board.open(cpu(index));
        }
        Arc::new(world)
    }

    fn change(&self, change_fn: impl FnOnce(&mut Notes)) {
        change_fn(&mut self.notes.lock().expect("never poisoned"));
        self.changed.notify_all();
    }

    fn wait(&self, mut until_fn: impl FnMut(&mut Notes) -> bool) {
        let mut notes = self.notes.lock().expect("never poisoned");
        while !until_fn(&mut notes) {
            notes = self.changed.wait(notes).expect("never poisoned");
        }
    }

    fn wake(&self, workers: impl IntoIterator<Item = CpuId>) {
        for worker in workers {
            self.change(|notes| notes.permits[worker.index()] = true);
        }
    }

    /// The life of the worker of CPU `index`.
    fn work(&self, index: usize) {
        loop {
            match self.board.next(cpu(index), cpu(index)) {
                Next::Job(job, another) => {
                    self.wake(another);
                    if let Some(started) = job.start() {
                        started.run(Runner::Worker(cpu(index)));
                    }
                }
                Next::Rest => self.wait(|notes| core::mem::take(&mut notes.permits[index])),
                Next::End => return,
            }
        }
    }

    /// The step of CPU `index` is torn down.
    fn leave(&self, index: usize) {
        self.wake(self.board.close(cpu(index)).iter());
    }

    /// Ends the workers, when all of the first `jobs` have been done.
    fn end(&self, jobs: usize) {
        self.wait(|notes| notes.done[..jobs].iter().all(|done| *done > 0));
        self.board.end();
        self.wake((0..CPUS).map(cpu));
    }

    fn assert_done(&self, wanted: [u32; 2]) {
        assert_eq!(self.notes.lock().expect("never poisoned").done, wanted);
    }
}

/// Gives a job that is noted as `which`, and that waits for the job `awaits` first.
fn give(world: &Arc<World>, which: usize, awaits: Option<usize>, near: usize) {
    let noted = Arc::clone(world);
    let job = Job::new(Box::new(move |_| {
        if let Some(other) = awaits {
            noted.wait(|notes| notes.done[other] > 0);
        }
        noted.change(|notes| notes.done[which] += 1);
    }));
    world.wake(world.board.push(job, cpu(near)));
}

fn spawn(
    world: &Arc<World>,
    thread_fn: impl FnOnce(&Arc<World>) + 'static,
) -> thread::JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || thread_fn(&world))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("a thread of the model");
    }
}

/// A job is given on a CPU that goes. If it is stranded, the model waits for it for ever.
#[test]
fn a_job_of_a_cpu_that_goes_is_done_elsewhere() {
    every_order(|| {
        let world = World::new();
        let worker = spawn(&world, |world| world.work(0));
        let leaver = spawn(&world, |world| world.leave(1));
        give(&world, 0, None, 1);
        join([leaver]);
        world.end(1);
        join([worker]);
        world.assert_done([1, 0]);
    });
}

/// The worker that goes may have been chosen to be woken for the job, or have begun it.
#[test]
fn a_worker_that_leaves_takes_no_job_along() {
    every_order(|| {
        let world = World::new();
        let workers = [0, 1].map(|index| spawn(&world, move |world| world.work(index)));
        give(&world, 0, None, 0);
        world.leave(1);
        world.end(1);
        join(workers);
        world.assert_done([1, 0]);
    });
}

/// The first job waits for the second one, so each needs a worker of its own.
#[test]
fn as_many_jobs_are_done_at_once_as_there_are_workers() {
    every_order(|| {
        let world = World::new();
        let workers = [0, 1].map(|index| spawn(&world, move |world| world.work(index)));
        give(&world, 0, Some(1), 0);
        give(&world, 1, None, 0);
        world.end(2);
        join(workers);
        world.assert_done([1, 1]);
    });
}

/// A CPU comes, with a job that waits in no CPU's queue.
#[test]
fn a_worker_that_comes_finds_what_waits() {
    every_order(|| {
        let world = World::new();
        world.leave(0);
        world.leave(1);
        let worker = spawn(&world, |world| world.work(0));
        let giver = spawn(&world, |world| give(world, 0, None, 0));
        world.board.open(cpu(0));
        world.wake([cpu(0)]);
        join([giver]);
        world.end(1);
        join([worker]);
        world.assert_done([1, 0]);
    });
}

/// A thread that waits for a job does it, unless a worker has begun it.
#[test]
fn a_job_is_done_by_its_worker_or_by_a_thread_that_waits() {
    every_order(|| {
        let world = World::new();
        let noted = Arc::clone(&world);
        let job = Job::new(Box::new(move |_| noted.change(|notes| notes.done[0] += 1)));
        let worker = spawn(&world, |world| world.work(0));
        world.wake(world.board.push(std::sync::Arc::clone(&job), cpu(0)));
        if let Some(started) = job.start() {
            started.run(Runner::Waiter);
        }
        world.end(1);
        join([worker]);
        world.assert_done([1, 0]);
    });
}
