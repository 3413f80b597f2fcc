//! What a worker has for itself, and what is its job's.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use core::time::Duration;

use stillpoint::api::cpu::{online_racy, possible};
use stillpoint::api::hotplug::{cpu_down, cpu_up};
use stillpoint::api::pool::Pool;
use stillpoint::api::sync::{Mutex, SpinLock};
use stillpoint::api::task::block_on;
use stillpoint::api::thread::{self, Thread};
use stillpoint::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kernel_support::machine::{eventually, last_cpu};
use kernel_support::unharmed::same;

/// A job parks. What wakes its worker, as a CPU goes and comes, is no permit for it.
pub(crate) fn parked_jobs(pool: &Pool) -> bool {
    let parked: Arc<Mutex<Vec<Thread>>> = Arc::new(Mutex::new(Vec::new()));
    let over = Arc::new(AtomicUsize::new(0));
    let all = possible().count();
    for _ in 0..all {
        let (parked, over) = (Arc::clone(&parked), Arc::clone(&over));
        pool.spawn(move || {
            parked.lock().push(thread::current());
            thread::park();
            over.fetch_add(1, Ordering::Relaxed);
        });
    }
    let mut sound = eventually(|| parked.lock().len() == all);
    sound &= same("down", cpu_down(last_cpu()), Ok(()));
    sound &= same("up", cpu_up(last_cpu()), Ok(()));
    thread::sleep(Duration::from_millis(5));
    sound &= same("over, not unparked", over.load(Ordering::Relaxed), 0);
    parked.lock().iter().for_each(Thread::unpark);
    sound & eventually(|| over.load(Ordering::Relaxed) == all)
}

/// To the lock validator, the workers of one pool are not those of another one.
pub(crate) fn dropped_under_a_lock(pool: &Pool) -> bool {
    static LOCK: Mutex<u32> = Mutex::new(0);
    let job = pool.spawn(|| *LOCK.lock() += 1);
    let sound = eventually(|| job.is_finished());
    let other = Pool::new().expect("there is a slot");
    let held = LOCK.lock();
    drop(other);
    sound & same("counted", *held > 0, true)
}

/// No stack is left for the worker of a CPU that comes.
pub(crate) fn no_stack() -> bool {
    let mut sound = same("down", cpu_down(last_cpu()), Ok(()));
    let pool = Pool::new().expect("there is a slot");
    let over = Arc::new(AtomicBool::new(false));
    let waits = || {
        let over = Arc::clone(&over);
        thread::Builder::new().spawn(move || {
            while !over.load(Ordering::Relaxed) {
                thread::park();
            }
        })
    };
    let mut threads = Vec::new();
    while let Ok(thread) = waits() {
        threads.push(thread);
    }
    sound &= same("a pool", Pool::new().is_err(), true);
    sound &= same("up", cpu_up(last_cpu()).is_err(), true);
    sound &= same("online", online_racy().contains(last_cpu()), false);
    sound &= same("job", pool.spawn(|| 7).join(), 7);
    over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.thread().unpark();
        thread.join();
    }
    sound & same("up", cpu_up(last_cpu()), Ok(())) & crate::at_once(&pool)
}

/// Threads wake `block_on` without a pause, and it polls all the same.
pub(crate) fn wakes_without_a_pause() -> bool {
    let waker = SpinLock::new(None::<Waker>);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..possible().count() {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let waker = waker.lock_irqsave().clone();
                    for _ in 0..100 {
                        waker.iter().for_each(Waker::wake_by_ref);
                    }
                }
            });
        }
        let mut polls = 0;
        block_on(poll_fn(|context| {
            let before = waker.lock_irqsave().replace(context.waker().clone());
            drop(before);
            polls += 1;
            if polls < 100 {
                return Poll::Pending;
            }
            Poll::Ready(())
        }));
        over.store(true, Ordering::Relaxed);
    });
    true
}

/// A poll takes the value, and the task stays over.
pub(crate) fn taken(pool: &Pool) -> bool {
    let mut task = pool.spawn_async(async { 1 });
    same("value", block_on(&mut task), 1) & same("is over", task.is_finished(), true)
}
