//! A queue of threads that wait for tokens with a time limit. If a thread is woken for a token
//! and doesn't take it, another waiter is woken for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use fake::Fake;
use fake_threads::{Body, bodies, rest, run};
use stillpoint::platform::Platform;
use stillpoint::sched::SchedHost;
use stillpoint::sched::lock::WaitQueue;
use stillpoint::sync::IrqGuard;
use stillpoint::time::Instant;
use xorshift::Random;

#[path = "support/fake.rs"]
mod fake;
#[path = "support/fake_threads.rs"]
mod fake_threads;
#[path = "support/xorshift.rs"]
mod xorshift;

/// Tokens, and the threads that wait for one.
struct Tokens {
    left: AtomicUsize,
    queue: WaitQueue<Fake>,
}

impl Tokens {
    fn new() -> Arc<Tokens> {
        Arc::new(Tokens {
            left: AtomicUsize::new(0),
            queue: WaitQueue::new(),
        })
    }

    fn put(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
        self.queue.wake_one();
    }

    fn take(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok()
    }
}

/// Runs the timer interrupt, if the timer's time has come.
fn tick() {
    if Fake::armed().is_some_and(|armed| armed <= Fake::now().0) {
        let _masked = IrqGuard::<Fake>::new();
        Fake::sched().timer_interrupt();
    }
}

/// Three threads wait: "early", "lucky" and "patient". The wake-up of the first token goes to
/// "early", but "lucky", which checks its condition for another reason, takes the token. The
/// wake-up of the second token goes to "lucky" before it has left the queue.
#[test]
fn a_waiter_that_finds_a_token_itself_passes_its_wake_up_on() {
    let tokens = Tokens::new();
    let looks = Arc::new([const { AtomicUsize::new(0) }; 3]);
    let got = Arc::new(AtomicUsize::new(0));
    let lucky = Arc::new(Mutex::new(None));
    let waiter = |number: usize| -> Body {
        let (tokens, looks, got) = (Arc::clone(&tokens), Arc::clone(&looks), Arc::clone(&got));
        let lucky = Arc::clone(&lucky);
        Box::new(move |_| {
            // A thread checks the second time as a waiter.
            let waits = |other: usize| looks[other].load(Ordering::Relaxed) >= 2;
            while number > 0 && !waits(number - 1) {
                Fake::sched().yield_now();
            }
            let me = Fake::sched().current();
            if number == 1 {
                *lucky.lock().expect("no panic under it") = Some(Arc::clone(&me));
            }
            let taken = tokens.queue.wait_until(Instant::FOREVER, || {
                let look = looks[number].fetch_add(1, Ordering::Relaxed);
                let taken = tokens.take();
                if taken && number == 1 && look == 2 {
                    // As on another CPU: "early" is woken and finds no token.
                    tokens.queue.wake_one();
                    Fake::sched().wake(&me);
                    Fake::others_run(|| {
                        while looks[0].load(Ordering::Relaxed) < 3 {
                            Fake::sched().yield_now();
                        }
                    });
                    tokens.put();
                }
                taken
            });
            got.fetch_add(usize::from(taken), Ordering::Relaxed);
        })
    };
    let mut all: Vec<Body> = (0..3).map(waiter).collect();
    all.push(Box::new(move |_| {
        while looks[2].load(Ordering::Relaxed) < 2 {
            Fake::sched().yield_now();
        }
        tokens.left.store(1, Ordering::Relaxed);
        let lucky = lucky.lock().expect("no panic under it").take();
        Fake::sched().wake(&lucky.expect("it waits"));
        for _ in 0..100 {
            Fake::sched().yield_now();
        }
        assert_eq!(
            (
                got.load(Ordering::Relaxed),
                tokens.left.load(Ordering::Relaxed)
            ),
            (2, 0),
            "the tokens that threads got, and the tokens that are left"
        );
        tokens.put();
    }));
    run(1, all);
}

/// Some threads wait for ever, and some give up. Between a check and what follows from it other
/// threads run, as on other CPUs. The next token comes when the last one has been taken, so a
/// token that no thread takes stops the test.
#[test]
fn no_token_is_left_beside_a_waiter() {
    const PATIENT: usize = 2;
    const EACH: usize = if cfg!(miri) { 4 } else { 15 };
    // Under Miri each round takes seconds.
    for seed in 0..if cfg!(miri) { 1 } else { 40 } {
        let tokens = Tokens::new();
        let waiting = Arc::new(AtomicUsize::new(2 * PATIENT));
        let all = bodies(2 * PATIENT, |number| {
            let (tokens, waiting) = (Arc::clone(&tokens), Arc::clone(&waiting));
            move |random: &mut Random| {
                let me = Fake::sched().current();
                for _ in 0..EACH {
                    let limit = if number < PATIENT {
                        Instant::FOREVER
                    } else {
                        Fake::now().after_ticks(1 + random.below(6) as u64)
                    };
                    tokens.queue.wait_until(limit, || {
                        let taken = tokens.take();
                        if random.below(2) == 0 {
                            Fake::sched().wake(&me);
                            Fake::others_run(|| {
                                Fake::sched().yield_now();
                                rest(random);
                            });
                        }
                        taken
                    });
                    rest(random);
                }
                waiting.fetch_sub(1, Ordering::Relaxed);
            }
        });
        let putter: Body = Box::new(move |random| {
            let mut idle_rounds = 0;
            while waiting.load(Ordering::Relaxed) > 0 {
                idle_rounds += 1;
                if tokens.left.load(Ordering::Relaxed) == 0 {
                    idle_rounds = 0;
                    tokens.put();
                }
                assert!(
                    idle_rounds < 1000,
                    "seed {seed}: a token lies there untaken"
                );
                Fake::set_now(Fake::now().0 + 1);
                tick();
                rest(random);
                Fake::sched().yield_now();
            }
        });
        run(seed, all.into_iter().chain([putter]).collect());
    }
}

/// A waiter that gives up receives a wake-up between its last check and its leave, which must
/// pass it on to the next waiter. `sees` is the result of the last check.
fn a_wake_up_in_the_last_moment(sees: bool) {
    let queue = Arc::new(WaitQueue::<Fake>::new());
    let tokens = Arc::new(AtomicUsize::new(0));
    let waiter = Arc::new(OnceLock::new());
    let asleep = Arc::new(AtomicUsize::new(0));
    let first: Body = {
        let (queue, tokens) = (Arc::clone(&queue), Arc::clone(&tokens));
        let (waiter, asleep) = (Arc::clone(&waiter), Arc::clone(&asleep));
        Box::new(move |_| {
            assert!(waiter.set(Fake::sched().current()).is_ok());
            let mut looks = 0;
            let got = queue.wait_until(Instant(1), || {
                looks += 1;
                if looks <= 2 {
                    asleep.store(looks, Ordering::Relaxed);
                    return false;
                }
                // Another CPU makes the condition true just after this check.
                tokens.store(1, Ordering::Relaxed);
                queue.wake_one();
                sees
            });
            assert_eq!((got, looks), (sees, 3));
        })
    };
    let second: Body = {
        let (queue, tokens) = (Arc::clone(&queue), Arc::clone(&tokens));
        let asleep = Arc::clone(&asleep);
        Box::new(move |_| {
            while asleep.load(Ordering::Relaxed) < 2 {
                Fake::sched().yield_now();
            }
            let take = || {
                asleep.fetch_add(1, Ordering::Relaxed);
                tokens.swap(0, Ordering::Relaxed) == 1
            };
            assert!(queue.wait_until(Instant::FOREVER, take));
        })
    };
    let timer: Body = Box::new(move |_| {
        while asleep.load(Ordering::Relaxed) < 4 {
            Fake::sched().yield_now();
        }
        Fake::set_now(1);
        Fake::sched().wake(waiter.get().expect("the first is asleep"));
    });
    run(0, vec![first, second, timer]);
}

#[test]
fn a_waiter_that_gives_up_hands_its_wake_up_on() {
    a_wake_up_in_the_last_moment(false);
}

#[test]
fn a_waiter_that_goes_on_for_another_reason_hands_its_wake_up_on() {
    a_wake_up_in_the_last_moment(true);
}
