//! The jobs and tasks of a pool are done once, and their values come back, whatever CPUs come and
//! go meanwhile.

//@ smp: 2 4
//@ timeout: 240
//@ cases: real icount
//@ case: icount
//@ icount: 1

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../../../../examples/api/tasks.rs"]
mod example;
mod storm;
mod tasks;
mod workers;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::cpu::{CpuMask, online_racy, possible};
use stillpoint::api::hotplug::{
    InstallError, cpu_down, cpu_up, cpus_down, cpus_read_lock, cpus_up,
};
use stillpoint::api::pool::Pool;
use stillpoint::api::thread;
use stillpoint::sync::atomic::{AtomicUsize, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu, leave_and_return, secondaries, states_say};
use kernel_support::memory::InUse;
use kernel_support::unharmed::same;

fn main() {
    let mut ktap = Ktap::new();
    let warm = leave_and_return(|| with_pool(recursion) & tasks::dropped())
        & storm::pools(1)
        & workers::no_stack();
    ktap.check("a first time, for memory that is kept", warm);
    let before = InUse::settled();
    ktap.check("jobs that join jobs", with_pool(recursion));
    ktap.check("jobs that borrow", with_pool(borrow));
    ktap.check("each turn of a loop is taken once", with_pool(turns));
    ktap.check("as many at once as there are CPUs", with_pool(at_once));
    ktap.check("a CPU goes under its job", with_pool(goes_under_a_job));
    ktap.check("what is left when a pool is dropped", leftovers());
    ktap.check("where no pool can be made", refused());
    ktap.check("no stack for a worker", workers::no_stack());
    ktap.check("jobs that park", with_pool(workers::parked_jobs));
    ktap.check(
        "dropped under a lock of another pool's jobs",
        with_pool(workers::dropped_under_a_lock),
    );
    ktap.check("wakes without a pause", workers::wakes_without_a_pause());
    ktap.check("a value that was taken", with_pool(workers::taken));
    ktap.check(
        "ten thousand jobs while CPUs come and go",
        with_pool(storm::jobs),
    );
    ktap.check("loops while CPUs come and go", with_pool(storm::loops));
    ktap.check("what wakes a task", with_pool(tasks::woken));
    ktap.check("tasks that sleep", with_pool(tasks::sleepers));
    ktap.check(
        "tasks while CPUs come and go",
        with_pool(tasks::while_cpus_move),
    );
    ktap.check("tasks of a pool that is dropped", tasks::dropped());
    ktap.check("pools come and go in a storm", storm::pools(40));
    ktap.check("masks and counters", states_say(&possible()));
    ktap.check("as much memory in use as before", before.is_back());
    ktap.finish()
}

fn with_pool(test_fn: impl FnOnce(&Pool) -> bool) -> bool {
    test_fn(&Pool::new().expect("there is a slot"))
}

fn fibonacci(pool: &Pool, number: u32) -> u32 {
    if number < 2 {
        return number;
    }
    pool.scope(|scope| {
        let one = scope.spawn(|| fibonacci(pool, number - 1));
        let other = scope.spawn(|| fibonacci(pool, number - 2));
        one.join() + other.join()
    })
}

/// More jobs wait for others than there are workers.
fn recursion(pool: &Pool) -> bool {
    let value = pool.spawn(|| 6 * 7);
    same("value", value.join(), 42) & same("fibonacci", fibonacci(pool, 10), 55)
}

fn borrow(pool: &Pool) -> bool {
    let mut squares = [0; 100];
    let count = &AtomicUsize::new(0);
    let last = pool.scope(|scope| {
        for (number, square) in squares.iter_mut().enumerate() {
            scope.spawn(move || {
                *square = number * number;
                // A job of a scope may give it another one.
                scope.spawn(move || count.fetch_add(1, Ordering::Relaxed));
            });
        }
        scope.spawn(|| count.fetch_add(1, Ordering::Relaxed)).join()
    });
    let wanted: usize = (0..100).map(|number| number * number).sum();
    same("sum", squares.iter().sum(), wanted)
        & same("count", count.load(Ordering::Relaxed), 101)
        & (last <= 100)
}

fn turns(pool: &Pool) -> bool {
    let mut sound = true;
    for (range, chunk) in [
        (0..1000, 7),
        (5..6, 100),
        (3..3, 1),
        (10..30, 0),
        (usize::MAX - 9..usize::MAX, 4),
    ] {
        let taken: Vec<_> = range.clone().map(|_| AtomicUsize::new(0)).collect();
        pool.par_for(range.clone(), chunk, |number| {
            taken[number - range.start].fetch_add(1, Ordering::Relaxed);
        });
        let once = taken.into_iter().all(|it| it.into_inner() == 1);
        sound &= same("each once", once, true);
    }
    sound
}

/// Returns how many of four jobs for each CPU are at work at the same time. Each waits until there
/// have been `wanted`.
fn most_at_once(pool: &Pool, wanted: usize) -> usize {
    let (at_work, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (at_work, most) = (Arc::new(at_work), Arc::new(most));
    let handles: Vec<_> = (0..4 * possible().count())
        .map(|_| {
            let (at_work, most) = (Arc::clone(&at_work), Arc::clone(&most));
            pool.spawn(move || {
                let now = at_work.fetch_add(1, Ordering::Relaxed) + 1;
                most.fetch_max(now, Ordering::Relaxed);
                eventually(|| most.load(Ordering::Relaxed) >= wanted);
                thread::sleep(Duration::from_millis(1));
                at_work.fetch_sub(1, Ordering::Relaxed);
            })
        })
        .collect();
    // A join would be one more thread at work.
    eventually(|| handles.iter().all(|it| it.is_finished()));
    most.load(Ordering::Relaxed)
}

fn at_once(pool: &Pool) -> bool {
    let all = possible().count();
    let mut sound = same("all", most_at_once(pool, all), all);
    sound &= same("down", cpu_down(last_cpu()), Ok(()));
    sound &= same("fewer", most_at_once(pool, all - 1), all - 1);
    sound &= same("up", cpu_up(last_cpu()), Ok(()));
    sound & same("all again", most_at_once(pool, all), all)
}

/// Hotplug doesn't wait for a job, and the job goes on.
fn goes_under_a_job(pool: &Pool) -> bool {
    let all = possible().count();
    let (begun, may_end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let jobs: Vec<_> = (0..all)
        .map(|_| {
            let (begun, may_end) = (Arc::clone(&begun), Arc::clone(&may_end));
            pool.spawn(move || {
                begun.fetch_add(1, Ordering::Relaxed);
                while may_end.load(Ordering::Relaxed) == 0 {
                    thread::yield_now();
                }
                1
            })
        })
        .collect();
    let mut sound = eventually(|| begun.load(Ordering::Relaxed) == all);
    let others: CpuMask = secondaries().into_iter().collect();
    sound &= same("down", cpus_down(&others), Ok(()));
    // One worker serves, and it has a job: this one waits for it.
    let waits = pool.spawn(|| 2);
    may_end.store(1, Ordering::Relaxed);
    sound &= same("ended", jobs.into_iter().map(|it| it.join()).sum(), all);
    sound &= same("waited", waits.join(), 2);
    sound & same("up", cpus_up(&others), Ok(())) & same("all", online_racy(), possible())
}

fn leftovers() -> bool {
    let count = Arc::new(AtomicUsize::new(0));
    with_pool(|pool| {
        for _ in 0..200 {
            let count = Arc::clone(&count);
            pool.spawn(move || count.fetch_add(1, Ordering::Relaxed));
        }
        true
    }) & same("done", count.load(Ordering::Relaxed), 200)
}

fn refused() -> bool {
    let guard = cpus_read_lock();
    let error = Pool::new().err();
    drop(guard);
    let mut sound = matches!(error, Some(InstallError::WouldDeadlock(_)));
    // Until no slot is left.
    let mut pools = Vec::new();
    let error = loop {
        match Pool::new() {
            Ok(pool) => pools.push(pool),
            Err(error) => break error,
        }
    };
    sound &= same("error", error, InstallError::NoFreeSlot) & (pools.len() > 10);
    drop(pools);
    sound
}
