//! The locks that sleep, with the real scheduler and real threads on a fake CPU: which threads
//! hold a lock, which thread is next, and that no waiter is forgotten.
//!
//! Threads yield at random between their steps. Each seed makes another interleaving, and
//! always the same one.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as HostMutex};

use fake::Fake;
use fake_threads::{bodies, rest, run};
use stillpoint::sched::lock::{Completion, Condvar, Mutex, Once, RwLock, Semaphore};
use xorshift::Random;

#[path = "support/fake.rs"]
mod fake;
#[path = "support/fake_threads.rs"]
mod fake_threads;
#[path = "support/xorshift.rs"]
mod xorshift;

const SEEDS: u64 = 20;

#[test]
fn each_completion_lets_one_waiter_go_on() {
    const EACH: usize = 40;
    for seed in 0..SEEDS {
        let completion = Arc::new(Completion::<Fake>::new());
        let said = Arc::new(AtomicUsize::new(0));
        let heard = Arc::new(AtomicUsize::new(0));
        let mut all = bodies(4, |_| {
            let (completion, said, heard) = (
                Arc::clone(&completion),
                Arc::clone(&said),
                Arc::clone(&heard),
            );
            move |random| {
                for _ in 0..EACH {
                    completion.wait();
                    let heard = heard.fetch_add(1, Ordering::Relaxed) + 1;
                    assert!(heard <= said.load(Ordering::Relaxed), "not said yet");
                    rest(random);
                }
            }
        });
        all.extend(bodies(2, |_| {
            let (completion, said) = (Arc::clone(&completion), Arc::clone(&said));
            move |random| {
                for _ in 0..2 * EACH {
                    said.fetch_add(1, Ordering::Relaxed);
                    completion.complete();
                    rest(random);
                }
            }
        }));
        run(seed, all);
        assert_eq!(heard.load(Ordering::Relaxed), 4 * EACH);
    }
}

#[test]
fn a_completion_counts_as_a_number_does() {
    for seed in 0..SEEDS {
        let alone = bodies(1, |_| {
            move |random: &mut Random| {
                let completion = Completion::<Fake>::new();
                let mut model = Some(0_u32);
                for _ in 0..2_000 {
                    match random.below(8) {
                        0..4 => {
                            completion.complete();
                            model = model.map(|said| said + 1);
                        }
                        4..7 => {
                            let wanted = model.is_none_or(|said| said > 0);
                            assert_eq!(completion.try_wait(), wanted);
                            model = model.map(|said| said - u32::from(wanted));
                        }
                        _ if random.below(10) == 0 => {
                            completion.complete_all();
                            model = None;
                        }
                        _ => {
                            completion.reset();
                            model = Some(0);
                        }
                    }
                }
            }
        });
        run(seed, alone);
    }
}

#[test]
fn said_for_ever_lets_all_go_on() {
    let completion = Arc::new(Completion::<Fake>::new());
    let mut all = bodies(5, |_| {
        let completion = Arc::clone(&completion);
        move |_| {
            completion.wait();
            completion.wait();
        }
    });
    all.push(Box::new(move |random| {
        rest(random);
        completion.complete_all();
    }));
    run(1, all);
}

#[test]
fn a_mutex_goes_to_who_has_waited_longest() {
    for seed in 0..SEEDS {
        let mutex = Arc::new(Mutex::<usize, Fake>::new(0));
        let asked = Arc::new(HostMutex::new(Vec::new()));
        let got = Arc::new(HostMutex::new(Vec::new()));
        let all = bodies(5, |number| {
            let (mutex, asked, got) = (Arc::clone(&mutex), Arc::clone(&asked), Arc::clone(&got));
            move |random| {
                for _ in 0..30 {
                    // No other thread runs between the two: there is one CPU and no interrupt.
                    asked.lock().expect("no panic under it").push(number);
                    let mut value = mutex.lock();
                    got.lock().expect("no panic under it").push(number);
                    let before = *value;
                    rest(random);
                    assert_eq!(*value, before, "another thread was inside");
                    *value += 1;
                    drop(value);
                    rest(random);
                }
            }
        });
        run(seed, all);
        let asked = asked.lock().expect("no panic under it").clone();
        assert_eq!(
            asked,
            *got.lock().expect("no panic under it"),
            "seed {seed}"
        );
    }
}

#[test]
fn readers_and_writers_are_never_inside_together_and_take_turns() {
    for seed in 0..SEEDS {
        let lock = Arc::new(RwLock::<(u32, u32), Fake>::new((0, 0)));
        let waiting_writers = Arc::new(AtomicUsize::new(0));
        let writes = Arc::new(AtomicU32::new(0));
        let mut all = bodies(4, |_| {
            let (lock, waiting) = (Arc::clone(&lock), Arc::clone(&waiting_writers));
            let written = Arc::clone(&writes);
            move |random| {
                for _ in 0..30 {
                    let written = written.load(Ordering::Relaxed);
                    let a_writer_waits = waiting.load(Ordering::Relaxed) > 0;
                    let pair = lock.read();
                    assert_eq!(pair.0, pair.1, "a reader saw the middle of a write");
                    assert!(
                        !a_writer_waits || pair.0 > written,
                        "a reader went past a writer that waited"
                    );
                    rest(random);
                    assert_eq!(pair.0, pair.1, "a writer came in");
                    drop(pair);
                    rest(random);
                }
            }
        });
        all.extend(bodies(2, |_| {
            let (lock, waiting) = (Arc::clone(&lock), Arc::clone(&waiting_writers));
            let written = Arc::clone(&writes);
            move |random| {
                for _ in 0..15 {
                    waiting.fetch_add(1, Ordering::Relaxed);
                    let mut pair = lock.write();
                    waiting.fetch_sub(1, Ordering::Relaxed);
                    pair.0 += 1;
                    rest(random);
                    pair.1 += 1;
                    written.fetch_add(1, Ordering::Relaxed);
                    drop(pair);
                    rest(random);
                }
            }
        }));
        run(seed, all);
    }
}

#[test]
fn a_semaphore_lets_so_many_in() {
    const PERMITS: usize = 2;
    for seed in 0..SEEDS {
        let semaphore = Arc::new(Semaphore::<Fake>::new(PERMITS));
        let inside = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let all = bodies(6, |_| {
            let (semaphore, inside, most) = (
                Arc::clone(&semaphore),
                Arc::clone(&inside),
                Arc::clone(&most),
            );
            move |random| {
                for _ in 0..20 {
                    semaphore.acquire();
                    let now = inside.fetch_add(1, Ordering::Relaxed) + 1;
                    most.fetch_max(now, Ordering::Relaxed);
                    rest(random);
                    inside.fetch_sub(1, Ordering::Relaxed);
                    semaphore.release();
                    rest(random);
                }
            }
        });
        run(seed, all);
        assert_eq!(most.load(Ordering::Relaxed), PERMITS, "seed {seed}");
    }
}

#[test]
fn no_number_of_permits_is_too_large() {
    let alone = bodies(1, |_| {
        |_: &mut Random| {
            let semaphore = Semaphore::<Fake>::new(usize::MAX);
            semaphore.release();
            assert!(semaphore.try_acquire());
            semaphore.acquire();
        }
    });
    run(0, alone);
}

#[test]
fn a_change_that_is_notified_is_seen() {
    for seed in 0..SEEDS {
        let shared = Arc::new((Mutex::<Vec<usize>, Fake>::new(Vec::new()), Condvar::new()));
        let taken = Arc::new(AtomicUsize::new(0));
        let mut all = bodies(3, |_| {
            let (shared, taken) = (Arc::clone(&shared), Arc::clone(&taken));
            move |random| {
                for _ in 0..20 {
                    let (queue, filled) = &*shared;
                    let mut queue = filled.wait_while(queue.lock(), |queue| queue.is_empty());
                    taken.fetch_add(queue.pop().expect("it is not empty"), Ordering::Relaxed);
                    drop(queue);
                    rest(random);
                }
            }
        });
        all.extend(bodies(2, |_| {
            let shared = Arc::clone(&shared);
            move |random| {
                for number in 0..30 {
                    shared.0.lock().push(number);
                    rest(random);
                    shared.1.notify_one();
                    rest(random);
                }
            }
        }));
        run(seed, all);
        assert_eq!(taken.load(Ordering::Relaxed), 2 * (0..30).sum::<usize>());
    }
}

#[test]
fn a_value_is_made_once_though_its_maker_sleeps() {
    for seed in 0..SEEDS {
        let once = Arc::new(Once::<usize, Fake>::new());
        let made = Arc::new(AtomicUsize::new(0));
        let all = bodies(5, |_| {
            let (once, made) = (Arc::clone(&once), Arc::clone(&made));
            move |random| {
                let value = *once.call_once(|| {
                    rest(random);
                    made.fetch_add(1, Ordering::Relaxed) + 1
                });
                assert_eq!(value, 1);
            }
        });
        run(seed, all);
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }
}
