//! Model of the workers of a pool: the kernel's `pool::Board` and `pool::Job`. Each job is done
//! once, whatever CPU goes meanwhile, and none waits while a worker sleeps.
//!
//! A worker's sleep is a condition variable, with the permit that `tests/loom_permit.rs` models.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_plain_cpu.rs"]
mod loom_plain_cpu;

use std::future::poll_fn;
use std::task::{Poll, Waker};

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_orders::every_order;
use loom_plain_cpu::Cpu;
use stillpoint::cpu::CpuId;
use stillpoint::pool::{Board, CallApp, Home, Job, Next, Runner};

const CPUS: usize = 2;

/// What the threads of the model tell each other.
#[derive(Default)]
struct Notes {
    /// Which workers have a permit.
    permits: [bool; CPUS],
    /// How often each job was done.
    done: [u32; 2],
    /// How many jobs have not been done. The workers end when there are none.
    left: usize,
    /// Those that a task has left, and how many are being called.
    wakers: Vec<Option<Waker>>,
    called: usize,
}

impl Notes {
    fn finish(&mut self, which: usize) {
        self.done[which] += 1;
        self.left = self.left.saturating_sub(1);
    }
}

struct World {
    board: Board<Cpu>,
    notes: Mutex<Notes>,
    /// Notified when the notes have changed.
    changed: Condvar,
}

/// The model knows no difference between the kernel and the program.
struct Program;

impl CallApp for Program {
    fn call<R>(&self, app_fn: impl FnOnce() -> R) -> R {
        app_fn()
    }
}

fn cpu(index: usize) -> CpuId {
    CpuId::from_index(index)
}

impl World {
    /// Returns a pool whose workers serve, and that is to do `left` jobs.
    fn new(left: usize) -> Arc<World> {
        let world = World {
            board: Board::new(CPUS),
            notes: Mutex::new(Notes {
                left,
                ..Notes::default()
            }),
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
                        started.run(Runner::Worker(cpu(index)), &Program);
                    }
                }
                Next::Rest => {
                    let mut over = false;
                    self.wait(|notes| {
                        over = notes.left == 0;
                        over || core::mem::take(&mut notes.permits[index])
                    });
                    if over {
                        return;
                    }
                }
                Next::End => unreachable!("no worker is told to end"),
            }
        }
    }

    /// One turn of that life.
    fn take_one(&self, index: usize) {
        let Next::Job(job, _) = self.board.next(cpu(index), cpu(index)) else {
            unreachable!("a job waits");
        };
        let started = job.start().expect("no other thread has begun it");
        started.run(Runner::Worker(cpu(index)), &Program);
    }

    /// The step of CPU `index` is torn down.
    fn leave(&self, index: usize) {
        self.wake(self.board.close(cpu(index)).iter());
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
        noted.change(|notes| notes.finish(which));
    }));
    world.wake(world.board.push(job, cpu(near)));
}

/// A task's home, behind an `Arc` that the kernel knows.
struct HomeOf(Arc<World>);

impl Home<Cpu> for HomeOf {
    fn queue(&self, job: std::sync::Arc<Job<Cpu>>) {
        self.0.wake(self.0.board.push(job, cpu(0)));
    }
}

/// Gives a task that notes its wakers, as many as `wakers`, and is over when all have been called.
fn give_task(world: &Arc<World>, wakers: usize) {
    let noted = Arc::clone(world);
    let future = poll_fn(move |context| {
        let mut notes = noted.notes.lock().expect("never poisoned");
        if notes.wakers.is_empty() {
            notes.wakers = (0..wakers).map(|_| Some(context.waker().clone())).collect();
            noted.changed.notify_all();
        }
        if notes.called < wakers {
            return Poll::Pending;
        }
        notes.finish(0);
        noted.changed.notify_all();
        Poll::Ready(())
    });
    let home = std::sync::Arc::new(HomeOf(Arc::clone(world)));
    let job = Job::task(Box::pin(future), home);
    world.wake(world.board.push(job, cpu(0)));
}

/// Does what another thread, or an interrupt handler, does when the task may go on.
fn call_waker(world: &Arc<World>, index: usize) {
    let mut waker = None;
    world.wait(|notes| {
        waker = notes.wakers.get_mut(index).and_then(Option::take);
        waker.is_some()
    });
    world.change(|notes| notes.called += 1);
    if let Some(waker) = waker {
        waker.wake();
    }
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
        let world = World::new(1);
        let worker = spawn(&world, |world| world.work(0));
        let leaver = spawn(&world, |world| world.leave(1));
        give(&world, 0, None, 1);
        join([worker, leaver]);
        world.assert_done([1, 0]);
    });
}

/// The worker that goes may have been chosen to be woken for the job, or have begun it.
#[test]
fn a_worker_that_leaves_takes_no_job_along() {
    every_order(|| {
        let world = World::new(1);
        let workers = [0, 1].map(|index| spawn(&world, move |world| world.work(index)));
        give(&world, 0, None, 0);
        world.leave(1);
        join(workers);
        world.assert_done([1, 0]);
    });
}

/// The worker sleeps, and is not to be woken in place of one that serves.
#[test]
fn a_worker_that_has_left_is_not_chosen() {
    every_order(|| {
        let world = World::new(1);
        let workers = [0, 1].map(|index| spawn(&world, move |world| world.work(index)));
        world.leave(1);
        give(&world, 0, None, 1);
        join(workers);
        world.assert_done([1, 0]);
    });
}

/// The first job waits for the second one, so each needs a worker of its own. The second worker
/// gives the first job itself, before it works: a thread more would need more preemptions.
#[test]
fn as_many_jobs_are_done_at_once_as_there_are_workers() {
    every_order(|| {
        let world = World::new(2);
        let other = spawn(&world, |world| {
            give(world, 0, Some(1), 0);
            world.work(1);
        });
        let giver = spawn(&world, |world| give(world, 1, None, 0));
        world.work(0);
        join([other, giver]);
        world.assert_done([1, 1]);
    });
}

/// A CPU comes, with a job that waits in no CPU's queue.
#[test]
fn a_worker_that_comes_finds_what_waits() {
    every_order(|| {
        let world = World::new(1);
        world.leave(0);
        world.leave(1);
        let worker = spawn(&world, |world| world.work(0));
        let giver = spawn(&world, |world| give(world, 0, None, 0));
        world.board.open(cpu(0));
        world.wake([cpu(0)]);
        join([worker, giver]);
        world.assert_done([1, 0]);
    });
}

/// A CPU comes whose worker is still busy with a job of before: what is given there is found by the
/// others.
#[test]
fn a_queue_that_opens_is_looked_at() {
    every_order(|| {
        let world = World::new(1);
        world.leave(1);
        let worker = spawn(&world, |world| world.work(0));
        let giver = spawn(&world, |world| give(world, 0, None, 1));
        world.board.open(cpu(1));
        join([worker, giver]);
        world.assert_done([1, 0]);
    });
}

/// A job waits in CPU 0's queue at each look, as where a task wakes itself. By the 32nd look, what
/// was handed over to the shared queue is begun all the same.
#[test]
fn what_waits_is_begun_though_a_queue_is_never_empty() {
    every_order(|| {
        let world = World::new(2);
        for _ in 0..31 {
            assert!(world.board.take_any(cpu(0)).is_none());
        }
        let leaver = spawn(&world, |world| {
            give(world, 0, None, 1);
            world.leave(1);
        });
        give(&world, 1, None, 0);
        join([leaver]);
        world.take_one(0);
        world.assert_done([1, 0]);
        world.take_one(0);
        world.assert_done([1, 1]);
    });
}

/// A thread that waits for a job does it, unless a worker has begun it.
#[test]
fn a_job_is_done_by_its_worker_or_by_a_thread_that_waits() {
    every_order(|| {
        let world = World::new(1);
        let noted = Arc::clone(&world);
        let job = Job::new(Box::new(move |_| noted.change(|notes| notes.finish(0))));
        let worker = spawn(&world, |world| world.work(0));
        world.wake(world.board.push(std::sync::Arc::clone(&job), cpu(0)));
        if let Some(started) = world.board.start(&job) {
            started.run(Runner::Waiter, &Program);
        }
        join([worker]);
        world.assert_done([1, 0]);
    });
}

/// A thread that waits for a job begins it while it is handed over. It is in no queue then.
#[test]
fn a_job_that_has_been_begun_is_in_no_queue() {
    every_order(|| {
        let world = World::new(1);
        let noted = Arc::clone(&world);
        let job = Job::new(Box::new(move |_| noted.change(|notes| notes.finish(0))));
        world.wake(world.board.push(std::sync::Arc::clone(&job), cpu(1)));
        let leaver = spawn(&world, |world| world.leave(1));
        let started = world.board.start(&job).expect("no other thread begins it");
        started.run(Runner::Waiter, &Program);
        join([leaver]);
        world.assert_done([1, 0]);
        assert!(world.board.take_any(cpu(0)).is_none(), "it is in a queue");
    });
}

/// A wake may come while the task is polled, before, or when it waits again.
#[test]
fn a_wake_of_a_task_is_not_lost() {
    every_order(|| {
        let world = World::new(1);
        let worker = spawn(&world, |world| world.work(0));
        let caller = spawn(&world, |world| call_waker(world, 0));
        give_task(&world, 1);
        join([worker, caller]);
        world.assert_done([1, 0]);
    });
}

/// The task is queued once: a second entry would panic in the queue.
#[test]
fn a_task_that_is_woken_twice_is_queued_once() {
    every_order(|| {
        let world = World::new(1);
        let worker = spawn(&world, |world| world.work(0));
        let caller = spawn(&world, |world| call_waker(world, 0));
        give_task(&world, 2);
        call_waker(&world, 1);
        join([worker, caller]);
        world.assert_done([1, 0]);
    });
}
