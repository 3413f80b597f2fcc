//! Model of the queues of callbacks, from the kernel's own file.
//!
//! `rcu::Queues`: each callback runs once, in order, after a grace period that began after
//! it was queued, and before the end of a barrier that was begun after it was queued. A
//! caller that waits for room is woken.

#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_plain_cpu.rs"]
mod loom_plain_cpu;
#[path = "support/loom_wait_queue.rs"]
mod loom_wait_queue;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use loom_orders::every_order;
use loom_plain_cpu::Cpu;
use loom_wait_queue::WaitQueue;
use loom_word::Word;
use stillpoint::cpu::CpuId;
use stillpoint::rcu::{Queues, node};
use stillpoint::sync::atomic::{AtomicU32, Ordering};

/// The queues of callbacks, and the waits of the threads that serve them.
struct Callbacks {
    queues: Queues<Cpu>,
    fresh: WaitQueue,
    ready: WaitQueue,
    passed: WaitQueue,
    room: WaitQueue,
    /// How many callbacks of each CPU have run. Only the thread that runs them accesses this.
    ran: [Word; 2],
    /// How many grace periods have begun, and how many are over.
    grace: [AtomicU32; 2],
}

fn callbacks() -> Arc<Callbacks> {
    Arc::new(Callbacks {
        queues: Queues::new(2),
        fresh: WaitQueue::new(),
        ready: WaitQueue::new(),
        passed: WaitQueue::new(),
        room: WaitQueue::new(),
        ran: [Word::new(0), Word::new(0)],
        grace: [AtomicU32::new(0), AtomicU32::new(0)],
    })
}

fn queue_of(index: usize) -> CpuId {
    CpuId::new(index).expect("few")
}

/// Queues the callback `number` of a CPU. Returns whether the queue is full.
fn queue(all: &Arc<Callbacks>, index: usize, number: u32) -> bool {
    let of = Arc::clone(all);
    let begun = all.grace[0].load(Ordering::Relaxed);
    let callback = node(move || {
        assert_eq!(of.ran[index].get(), number, "out of order, or twice");
        of.ran[index].set(number + 1);
        let over = of.grace[1].load(Ordering::Relaxed);
        assert!(over > begun, "before the end of its grace period");
    });
    let pushed = all.queues.push(queue_of(index), callback);
    if pushed.wants_grace {
        all.fresh.wake();
    }
    pushed.is_full
}

/// Does as the thread `rcu` for one grace period.
fn wait_for_grace(all: &Callbacks) {
    let gathered = all.queues.gather();
    // Relaxed: the order of a push and a grace period is that of the queue's lock.
    all.grace[0].fetch_add(1, Ordering::Relaxed);
    all.grace[1].fetch_add(1, Ordering::Relaxed);
    all.queues.release(&gathered);
    all.ready.wake();
}

/// Does as the thread `rcuc/N` of the CPU `index`, once its batch is ready.
fn run_some(all: &Callbacks, index: usize) {
    let ran = all.queues.run_some(queue_of(index));
    if ran.wants_grace {
        all.fresh.wake();
    }
    if ran.made_room {
        all.room.wake();
    }
    all.passed.wake();
}

/// Serves until `count` callbacks have run.
fn serve(all: &Callbacks, count: u64) {
    while all.queues.totals().1 < count {
        let is_ready = |index| all.queues.is_ready(queue_of(index));
        let has_work = || all.queues.wants_grace() || is_ready(0) || is_ready(1);
        all.fresh.wait(has_work);
        if all.queues.wants_grace() {
            wait_for_grace(all);
        }
        for index in 0..2 {
            if is_ready(index) {
                run_some(all, index);
            }
        }
    }
}

/// Starts a thread that serves until `count` callbacks have run.
fn spawn_server(all: &Arc<Callbacks>, count: u64) -> JoinHandle<()> {
    let all = Arc::clone(all);
    thread::spawn(move || serve(&all, count))
}

#[test]
fn a_barrier_has_seen_all_that_was_queued_before() {
    every_order(|| {
        let all = callbacks();
        let threads = spawn_server(&all, 3);
        queue(&all, 0, 0);
        queue(&all, 0, 1);
        let era = all.queues.begin_era();
        for index in 0..2 {
            let cpu = queue_of(index);
            all.passed.wait(|| all.queues.is_past(cpu, era));
        }
        assert_eq!(all.ran[0].get(), 2);
        queue(&all, 1, 0);
        threads.join().expect("the threads of RCU");
    });
}

/// Callbacks are queued after the barrier has begun: it waits for the earlier ones all the
/// same, in each state of their batch.
#[test]
fn a_barrier_does_not_end_early() {
    every_order(|| {
        let all = callbacks();
        let threads = spawn_server(&all, 3);
        queue(&all, 0, 0);
        queue(&all, 0, 1);
        let era = all.queues.begin_era();
        queue(&all, 0, 2);
        let cpu = queue_of(0);
        all.passed.wait(|| all.queues.is_past(cpu, era));
        assert!(all.queues.totals().1 >= 2, "it has run");
        threads.join().expect("the threads of RCU");
    });
}

/// A callback is queued while a batch waits for its grace period, or runs: it is in the next
/// batch, and the thread that waits for grace periods learns of it.
#[test]
fn what_comes_meanwhile_waits_for_a_grace_period_of_its_own() {
    every_order(|| {
        let all = callbacks();
        let runner = Arc::clone(&all);
        let runs = thread::spawn(move || {
            while runner.queues.totals().1 < 2 {
                runner.ready.wait(|| runner.queues.is_ready(queue_of(0)));
                run_some(&runner, 0);
            }
            runner.fresh.wake();
        });
        let waiter = Arc::clone(&all);
        let waits = thread::spawn(move || {
            loop {
                let is_over = || waiter.queues.totals().1 == 2;
                waiter
                    .fresh
                    .wait(|| waiter.queues.wants_grace() || is_over());
                if is_over() {
                    break;
                }
                wait_for_grace(&waiter);
            }
        });
        queue(&all, 0, 0);
        queue(&all, 0, 1);
        runs.join().expect("the thread rcuc/0");
        waits.join().expect("the thread rcu");
        assert_eq!(all.ran[0].get(), 2);
    });
}

/// Two CPUs queue callbacks at once. None is lost.
#[test]
fn what_two_cpus_queue_runs_once() {
    every_order(|| {
        let all = callbacks();
        let other = Arc::clone(&all);
        let second = thread::spawn(move || queue(&other, 1, 0));
        let threads = spawn_server(&all, 2);
        queue(&all, 0, 0);
        second.join().expect("a CPU of the model");
        threads.join().expect("the threads of RCU");
        assert!(all.ran.iter().all(|ran| ran.get() == 1));
    });
}

/// A caller that finds the queue full waits, and is woken.
#[test]
fn a_caller_that_pays_goes_on() {
    every_order(|| {
        let all = callbacks();
        all.queues.set_mark(1);
        let threads = spawn_server(&all, 2);
        queue(&all, 0, 0);
        if queue(&all, 0, 1) {
            all.room.wait(|| all.queues.has_room(queue_of(0)));
        }
        threads.join().expect("the threads of RCU");
        assert_eq!(all.ran[0].get(), 2);
    });
}
