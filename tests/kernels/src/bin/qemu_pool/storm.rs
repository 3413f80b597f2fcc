//! Jobs, loops and whole pools, while CPUs come and go all the time.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::cpu::{CpuMask, possible};
use stillpoint::api::hotplug::{cpus_down, cpus_up};
use stillpoint::api::pool::Pool;
use stillpoint::api::thread;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use kernel_support::machine::secondaries;
use kernel_support::unharmed::same;
use kernel_support::xorshift::Random;

const JOBS: usize = 10_000;

/// Calls `work_fn` while CPUs come and go. Returns whether that was right, and all CPUs are back.
pub(crate) fn while_they_move(work_fn: impl FnOnce() -> bool) -> bool {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let moving = scope.spawn(|| {
            let mut random = Random::new(1);
            let mut moves = 0;
            loop {
                let some = |_: &_| random.below(2) == 0;
                let some: CpuMask = secondaries().into_iter().filter(some).collect();
                if !same("down", cpus_down(&some), Ok(())) | !same("up", cpus_up(&some), Ok(())) {
                    return None;
                }
                moves += 1;
                if over.load(Ordering::Relaxed) {
                    return Some(moves);
                }
            }
        });
        let sound = work_fn();
        over.store(true, Ordering::Relaxed);
        let moves = moving.join();
        stillpoint::println!("# {moves:?} moves");
        sound & moves.is_some()
    })
}

/// Each job counts for itself; some give others, some wait, and some are joined.
pub(crate) fn jobs(pool: &Pool) -> bool {
    let counts: Arc<Vec<AtomicU32>> = Arc::new((0..JOBS).map(|_| AtomicU32::new(0)).collect());
    let sum = Arc::new(AtomicUsize::new(0));
    let give = |number: usize| {
        let (counts, sum) = (Arc::clone(&counts), Arc::clone(&sum));
        pool.spawn(move || {
            counts[number].fetch_add(1, Ordering::Relaxed);
            match number % 64 {
                0 => thread::sleep(Duration::from_millis(1)),
                8 | 24 | 40 => thread::yield_now(),
                _ => (),
            }
            sum.fetch_add(number, Ordering::Relaxed);
            number
        })
    };
    let sound = while_they_move(|| {
        let mut sound = true;
        pool.scope(|scope| {
            for start in (0..JOBS).step_by(100) {
                let give = &give;
                scope.spawn(move || {
                    let handles: Vec<_> = (start..start + 100).map(give).collect();
                    thread::yield_now();
                    handles.into_iter().map(|it| it.join()).sum::<usize>()
                });
                // CPUs go between the jobs, not only before and behind them.
                if start % 500 == 0 {
                    sound &= same("joined", give_and_join(pool), 3);
                }
            }
        });
        sound
    });
    let once = counts.iter().all(|it| it.load(Ordering::Relaxed) == 1);
    let wanted = JOBS * (JOBS - 1) / 2;
    sound & same("each once", once, true) & same("sum", sum.load(Ordering::Relaxed), wanted)
}

fn give_and_join(pool: &Pool) -> u32 {
    let (one, two) = (pool.spawn(|| 1), pool.spawn(|| 2));
    thread::sleep(Duration::from_millis(1));
    one.join() + two.join()
}

pub(crate) fn loops(pool: &Pool) -> bool {
    while_they_move(|| {
        (0..20).all(|turn| {
            let sum = AtomicUsize::new(0);
            pool.par_for(0..2000, 10, |number| {
                if number % 100 == 0 {
                    thread::yield_now();
                }
                sum.fetch_add(number, Ordering::Relaxed);
            });
            thread::sleep(Duration::from_millis(1));
            same("sum", sum.into_inner(), 1999 * 1000) & (turn < 20)
        })
    })
}

/// Makes pools, uses them and drops them, in several threads at a time.
pub(crate) fn pools(turns: u32) -> bool {
    while_they_move(|| {
        thread::scope(|scope| {
            let threads = [1, 2, 3].map(|seed| {
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    (0..turns).all(|_| one_pool(&mut random))
                })
            });
            threads.into_iter().all(|thread| thread.join())
        })
    })
}

fn one_pool(random: &mut Random) -> bool {
    let Ok(pool) = Pool::new() else {
        return same("a pool", false, true);
    };
    let jobs = 1 + random.below(2 * possible().count());
    let count = Arc::new(AtomicUsize::new(0));
    for _ in 0..jobs {
        let count = Arc::clone(&count);
        pool.spawn(move || count.fetch_add(1, Ordering::Relaxed));
    }
    let mut each = [0; 8];
    pool.scope(|scope| {
        for it in &mut each {
            scope.spawn(|| *it += 1);
        }
    });
    drop(pool);
    same("done", count.load(Ordering::Relaxed), jobs) & same("each", each, [1; 8])
}
