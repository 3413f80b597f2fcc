//! Readers of the hotplug lock that wait no longer than until a limit, with the real scheduler
//! and real threads on a fake CPU: they read or have given up, and leave nothing behind.
//!
//! Each seed makes another interleaving, and always the same one.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use fake::Fake;
use fake_threads::{Body, bodies, rest, run};
use stillpoint::platform::Platform;
use stillpoint::sched::lock::{Completion, CpusLock, Heir};
use stillpoint::sched::{Class, Priority, SchedHost, ThreadName};
use stillpoint::sync::{IrqGuard, LocalCpu, PreemptGuard};
use stillpoint::time::Instant;
use xorshift::Random;

#[path = "support/fake.rs"]
mod fake;
#[path = "support/fake_threads.rs"]
mod fake_threads;
#[path = "support/xorshift.rs"]
mod xorshift;

fn realtime(priority: u8) -> Class {
    Class::fifo(Priority::new(priority).expect("1 to 99"))
}

fn set_own_class(class: Class) {
    let sched = Fake::sched();
    sched.set_class(&sched.current(), class);
}

fn own_level() -> usize {
    Heir::level(&*Fake::sched().current())
}

fn own_name() -> ThreadName {
    *Fake::sched().current().name()
}

/// Lets time pass until `at`, as this CPU's timer sees it.
fn let_time_pass(at: Instant) {
    let masked = IrqGuard::<Fake>::new();
    Fake::set_now(at.0.max(Fake::now().0));
    Fake::sched().timer_interrupt();
    drop(masked);
}

/// A reader gives up at its limit, first while a writer waits for another reader, then while
/// that writer has the lock. It names the writer, nothing stays lent to it, and the lock is free
/// at the end.
#[test]
fn a_reader_gives_up_at_its_limit() {
    let lock = CpusLock::<Fake>::new(1);
    let steps = [(); 5].map(|()| Completion::<Fake>::new());
    let all = Arc::new((lock, steps));
    let [first, second, writer, clock] = [(); 4].map(|()| Arc::clone(&all));
    let all: Vec<Body> = vec![
        Box::new(move |_| {
            let (lock, [reads, may_leave, ..]) = &*first;
            let held = lock.read();
            reads.complete();
            may_leave.wait();
            assert_eq!(own_level(), realtime(30).level(), "the writer waits for it");
            drop(held);
            assert_eq!(own_level(), Class::Normal.level());
        }),
        Box::new(move |_| {
            let (lock, [_, may_leave, has_it, may_go, asks]) = &*second;
            while lock.try_read().is_some() {
                Fake::sched().yield_now();
            }
            let gives_up_at = |at| {
                asks.complete();
                let refused = lock.read_until_if_it_may(Instant(at)).expect("it may wait");
                assert!(Fake::now() >= Instant(at), "too early");
                assert_eq!(own_level(), Class::Normal.level(), "a loan is left");
                refused.err().flatten().expect("a writer is there")
            };
            let waits = gives_up_at(100);
            may_leave.complete();
            has_it.wait();
            let has = gives_up_at(200);
            assert_eq!(waits, has);
            assert_ne!(has, own_name());
            // A limit that is over: it doesn't sleep.
            assert!(
                lock.read_until_if_it_may(Instant(0))
                    .expect("it may")
                    .is_err()
            );
            may_go.complete();
            let later = Instant(1_000_000);
            drop(
                lock.read_until_if_it_may(later)
                    .expect("it may")
                    .expect("in time"),
            );
            assert!(Fake::now() < later);
            // A limit that is over, and a free lock.
            assert!(
                lock.read_until_if_it_may(Instant(0))
                    .expect("it may")
                    .is_ok()
            );
        }),
        Box::new(move |_| {
            let (lock, [reads, _, has_it, may_go, _]) = &*writer;
            reads.wait();
            set_own_class(realtime(30));
            let held = lock.write();
            has_it.complete();
            may_go.wait();
            drop(held);
            drop(lock.write());
        }),
        Box::new(move |_| {
            let (_, [.., asks]) = &*clock;
            for at in [100, 200] {
                asks.wait();
                for _ in 0..20 {
                    Fake::sched().yield_now();
                }
                let_time_pass(Instant(at));
            }
        }),
    ];
    run(0, all);
}

/// A writer leaves when the reader's limit has come, but the reader has not had the CPU yet: it
/// was let in, so it reads.
#[test]
fn a_reader_that_was_let_in_at_its_limit_reads() {
    let all = Arc::new((CpusLock::<Fake>::new(1), Completion::<Fake>::new()));
    let [reader, writer] = [(); 2].map(|()| Arc::clone(&all));
    let all: Vec<Body> = vec![
        Box::new(move |_| {
            let (lock, has_it) = &*reader;
            has_it.wait();
            let read = lock
                .read_until_if_it_may(Instant(100))
                .expect("it may wait");
            assert_eq!(Fake::now(), Instant(100));
            drop(read.expect("it was let in"));
        }),
        Box::new(move |_| {
            let (lock, has_it) = &*writer;
            let held = lock.write();
            has_it.complete();
            for _ in 0..20 {
                Fake::sched().yield_now();
            }
            // The reader has become ready, and runs when this thread gives up the CPU.
            let here = PreemptGuard::<Fake>::new();
            let_time_pass(Instant(100));
            drop(held);
            drop(here);
            Fake::sched().yield_now();
            drop(lock.write());
        }),
    ];
    run(0, all);
}

/// A writer leaves at each moment in turn at which a reader has found that its limit is over. The
/// reader was let in, or has given up before; the next writer waits for neither.
#[test]
fn a_reader_is_let_in_or_gives_up_and_never_both() {
    let [read, given_up] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    for moment in 1..8 {
        let steps = [(); 2].map(|()| Completion::<Fake>::new());
        let all = Arc::new((CpusLock::<Fake>::new(1), steps, AtomicBool::new(false)));
        let [reader, writer] = [(); 2].map(|()| Arc::clone(&all));
        let (read, given_up) = (Arc::clone(&read), Arc::clone(&given_up));
        let all: Vec<Body> = vec![
            Box::new(move |_| {
                let (lock, [has_it, _], _) = &*reader;
                has_it.wait();
                let (shared, passed) = (Arc::clone(&reader), Cell::new(0));
                Fake::on_irq_restore(move || {
                    if Fake::now() < Instant(100) || !Fake::irqs_enabled() {
                        return;
                    }
                    passed.set(passed.get() + 1);
                    if passed.get() == moment {
                        let (_, [_, may_go], has_left) = &*shared;
                        Fake::others_run(|| {
                            may_go.complete();
                            while !has_left.load(Ordering::Relaxed) {
                                Fake::sched().yield_now();
                            }
                        });
                    }
                });
                let got = lock
                    .read_until_if_it_may(Instant(100))
                    .expect("it may wait");
                let count = if got.is_ok() { read } else { given_up };
                count.fetch_add(1, Ordering::Relaxed);
                drop(got);
                Fake::on_irq_restore(|| ());
                let (_, [_, may_go], _) = &*reader;
                may_go.complete();
            }),
            Box::new(move |_| {
                let (lock, [has_it, may_go], has_left) = &*writer;
                let held = lock.write();
                has_it.complete();
                for _ in 0..20 {
                    Fake::sched().yield_now();
                }
                let_time_pass(Instant(100));
                may_go.wait();
                drop(held);
                has_left.store(true, Ordering::Relaxed);
                drop(lock.write());
            }),
        ];
        run(0, all);
    }
    let [read, given_up] = [read, given_up].map(|count| count.load(Ordering::Relaxed));
    assert!(read > 0 && given_up > 0, "{read} and {given_up}");
}

/// Readers with limits and without, and writers, at random. Nobody reads beside a writer, no
/// thread waits for ever, and no level is left on a thread.
#[test]
fn readers_with_limits_and_writers_share_the_lock() {
    let [read, given_up] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    for seed in 0..20 {
        let shared = Arc::new((
            CpusLock::<Fake>::new(1),
            AtomicU32::new(0),
            AtomicU32::new(0),
        ));
        let mut all = bodies(4, |number| {
            let shared = Arc::clone(&shared);
            let (read, given_up) = (Arc::clone(&read), Arc::clone(&given_up));
            move |random: &mut Random| {
                for _ in 0..30 {
                    let (lock, first, second) = &*shared;
                    let limit = match number {
                        0 => Instant::FOREVER,
                        _ => Instant(Fake::now().0 + random.below(30) as u64),
                    };
                    match lock.read_until_if_it_may(limit).expect("it may wait") {
                        Ok(held) => {
                            read.fetch_add(1, Ordering::Relaxed);
                            let seen = first.load(Ordering::Relaxed);
                            rest(random);
                            assert_eq!(seen, second.load(Ordering::Relaxed), "a writer is in");
                            drop(held);
                        }
                        Err(_) => {
                            assert!(Fake::now() >= limit, "too early");
                            given_up.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    assert_eq!(own_level(), Class::Normal.level(), "a loan is left");
                    rest(random);
                }
            }
        });
        all.extend(bodies(2, |number| {
            let shared = Arc::clone(&shared);
            move |random: &mut Random| {
                set_own_class(realtime(10 + u8::try_from(number).expect("two")));
                for _ in 0..30 {
                    let (lock, first, second) = &*shared;
                    let held = lock.write();
                    first.fetch_add(1, Ordering::Relaxed);
                    set_own_class(Class::Normal);
                    for _ in 0..3 {
                        rest(random);
                        let_time_pass(Instant(Fake::now().0 + random.below(20) as u64));
                        Fake::sched().yield_now();
                    }
                    second.fetch_add(1, Ordering::Relaxed);
                    drop(held);
                    set_own_class(realtime(10));
                    rest(random);
                }
            }
        }));
        run(seed, all);
    }
    let [read, given_up] = [read, given_up].map(|count| count.load(Ordering::Relaxed));
    assert!(read > 200 && given_up > 20, "{read} and {given_up}");
}
