//! Priority inheritance with the real mutex, scheduler and threads on a fake CPU: threads
//! lock, nest, give up and change classes at random, and their levels are compared with a
//! plain recomputation.
//!
//! Each seed makes another interleaving, and always the same one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as HostMutex};

use fake::Fake;
use fake_threads::{Body, bodies, run};
use stillpoint::cpu::CpuId;
use stillpoint::sched::lock::{Completion, CpusLock, Heir, Mutex, MutexGuard};
use stillpoint::sched::{Class, Priority, SchedHost, Thread, ThreadState};
use stillpoint::sync::IrqGuard;
use stillpoint::time::Instant;
use xorshift::Random;

#[path = "support/fake.rs"]
mod fake;
#[path = "support/fake_threads.rs"]
mod fake_threads;
#[path = "support/xorshift.rs"]
mod xorshift;

type KernelThread = Arc<Thread<Fake>>;
type Lock = Mutex<(), Fake>;

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

/// The threads and mutexes of a random run.
struct World {
    locks: [Lock; 3],
    threads: HostMutex<Vec<Member>>,
    quiet: AtomicUsize,
}

/// A thread, and the mutex that it asks for.
struct Member {
    thread: KernelThread,
    asks: Option<usize>,
}

impl World {
    /// Sets what mutex the running thread asks for.
    fn ask(&self, asks: Option<usize>) {
        let me = Fake::sched().current();
        let mut threads = self.threads.lock().expect("no panic under it");
        let own = threads.iter_mut().find(|one| Arc::ptr_eq(&one.thread, &me));
        own.expect("all are listed").asks = asks;
    }

    /// Returns the thread that holds the mutex for which `member` waits.
    fn owner_of(&self, member: &Member) -> Option<KernelThread> {
        let owner = self.locks[member.asks?].owner_racy()?;
        (!Arc::ptr_eq(&owner, &member.thread)).then_some(owner)
    }

    /// Compares the levels of all threads with a plain recomputation, unless a thread is on
    /// its way to lend on. None sleeps that should.
    fn check(&self) {
        let threads = self.threads.lock().expect("no panic under it");
        let mut quiet = true;
        for member in threads.iter().filter(|one| one.thread.place().waits()) {
            let settled = member.thread.place().at() == Heir::level(&*member.thread);
            let sleeps = member.thread.state_racy() == ThreadState::Blocked;
            assert!(settled || !sleeps, "{:?} sleeps on", member.thread);
            quiet &= settled && sleeps;
        }
        if !quiet {
            return;
        }
        self.quiet.fetch_add(1, Ordering::Relaxed);
        let own = |member: &Member| member.thread.class().level();
        let mut levels: Vec<_> = threads.iter().map(own).collect();
        for _ in 0..threads.len() {
            for (index, member) in threads.iter().enumerate() {
                let Some(owner) = self.owner_of(member) else {
                    continue;
                };
                let owner = threads
                    .iter()
                    .position(|one| Arc::ptr_eq(&one.thread, &owner));
                let owner = owner.expect("all are listed");
                levels[owner] = levels[owner].min(levels[index]);
            }
        }
        for (member, level) in threads.iter().zip(levels) {
            assert_eq!(Heir::level(&*member.thread), level, "{:?}", member.thread);
        }
    }

    /// Gives a thread another class, lets time pass, or yields.
    fn rest(&self, random: &mut Random) {
        while random.below(3) > 0 {
            match random.below(4) {
                0 => {
                    let number = random.below(5);
                    let class = match random.below(4) {
                        0 => Class::Normal,
                        priority => realtime(u8::try_from(priority).expect("small") * 10),
                    };
                    let thread = {
                        let threads = self.threads.lock().expect("no panic under it");
                        threads.get(number).map(|one| Arc::clone(&one.thread))
                    };
                    if let Some(thread) = thread {
                        Fake::sched().set_class(&thread, class);
                    }
                }
                1 => {
                    let masked = IrqGuard::<Fake>::new();
                    Fake::set_now(now() + random.below(20) as u64);
                    Fake::sched().timer_interrupt();
                    drop(masked);
                }
                _ => Fake::sched().yield_now(),
            }
            self.check();
        }
    }

    /// Takes the mutexes from `first` on, some of them, one inside the other.
    fn nest(&self, first: usize, random: &mut Random) {
        for index in first..self.locks.len() {
            if random.below(2) == 0 {
                continue;
            }
            if let Some(held) = self.take(index, random) {
                self.check();
                self.rest(random);
                self.nest(index + 1, random);
                drop(held);
                self.check();
            }
        }
    }

    fn take(&self, index: usize, random: &mut Random) -> Option<MutexGuard<'_, (), Fake>> {
        let limit = (random.below(2) == 0).then(|| Instant(now() + random.below(40) as u64));
        self.ask(Some(index));
        let held = match limit {
            Some(at) => self.locks[index].lock_until(at),
            None => Some(self.locks[index].lock()),
        };
        self.ask(None);
        held
    }
}

fn now() -> u64 {
    use stillpoint::platform::Platform;
    Fake::now().0
}

#[test]
fn levels_are_those_of_a_plain_recomputation() {
    let mut quiet = 0;
    for seed in 0..60 {
        let world = Arc::new(World {
            // Each a class of its own for the lock validator.
            locks: [Mutex::new(()), Mutex::new(()), Mutex::new(())],
            threads: HostMutex::new(Vec::new()),
            quiet: AtomicUsize::new(0),
        });
        let all = bodies(5, |_| {
            let world = Arc::clone(&world);
            move |random: &mut Random| {
                let me = Fake::sched().current();
                let member = Member {
                    thread: Arc::clone(&me),
                    asks: None,
                };
                world
                    .threads
                    .lock()
                    .expect("no panic under it")
                    .push(member);
                for _ in 0..25 {
                    world.rest(random);
                    world.nest(0, random);
                }
                assert_eq!(Heir::level(&*me), me.class().level(), "a loan is left");
            }
        });
        run(seed, all);
        quiet += world.quiet.load(Ordering::Relaxed);
    }
    assert!(quiet > 1_000, "only {quiet} comparisons");
}

/// Threads that come while a thread holds the mutex get it by their classes, and equals in the
/// order in which they came.
#[test]
fn the_most_urgent_is_next_and_equals_take_turns() {
    let mutex = Arc::new(Lock::new(()));
    let got = Arc::new(HostMutex::new(Vec::new()));
    let classes = [
        Class::Normal,
        realtime(20),
        realtime(30),
        Class::Normal,
        realtime(20),
        realtime(30),
    ];
    let all_wait = Arc::new(Completion::<Fake>::new());
    let (owned, goes) = (Arc::clone(&mutex), Arc::clone(&all_wait));
    let looked_at = Arc::clone(&mutex);
    let mut all: Vec<Body> = vec![
        Box::new(move |_| {
            let held = owned.lock();
            // Sleeps: it is more urgent than those that have yet to come.
            goes.wait();
            assert_eq!(own_level(), realtime(30).level());
            drop(held);
            assert_eq!(own_level(), Class::Normal.level());
        }),
        Box::new(move |_| {
            while looked_at.waiting_racy() < classes.len() {
                Fake::sched().yield_now();
            }
            all_wait.complete();
        }),
    ];
    all.extend(bodies(classes.len(), |number| {
        let (mutex, got) = (Arc::clone(&mutex), Arc::clone(&got));
        move |_: &mut Random| {
            // They come one after the other.
            while mutex.owner_racy().is_none() || mutex.waiting_racy() < number {
                Fake::sched().yield_now();
            }
            set_own_class(classes[number]);
            let _held = mutex.lock();
            got.lock().expect("no panic under it").push(number);
        }
    }));
    run(3, all);
    assert_eq!(*got.lock().expect("no panic under it"), [2, 5, 1, 4, 0, 3]);
}

/// What is given up comes back at once, whatever the mutex's owner does, and a thread whose
/// limit comes when it has the mutex keeps it.
#[test]
fn a_limit_ends_a_wait_and_a_loan() {
    let mutex = Arc::new(Lock::new(()));
    let owner = Arc::clone(&mutex);
    let waiter = mutex;
    let all: Vec<Body> = vec![
        Box::new(move |_| {
            set_own_class(realtime(10));
            let held = owner.lock();
            set_own_class(Class::Normal);
            while owner.waiting_racy() == 0 {
                Fake::sched().yield_now();
            }
            assert_eq!(own_level(), realtime(40).level());
            let masked = IrqGuard::<Fake>::new();
            Fake::set_now(101);
            Fake::sched().timer_interrupt();
            drop(masked);
            // The waiter is as urgent, so it runs here.
            Fake::sched().yield_now();
            assert_eq!(own_level(), Class::Normal.level());
            drop(held);
        }),
        Box::new(move |_| {
            while waiter.owner_racy().is_none() {
                Fake::sched().yield_now();
            }
            set_own_class(realtime(40));
            assert!(waiter.lock_until(Instant(100)).is_none());
            assert!(waiter.lock_until(Instant(100)).is_none(), "no wait at all");
            set_own_class(Class::Normal);
            assert!(waiter.lock_until(Instant::FOREVER).is_some());
            assert!(waiter.lock_until(Instant(0)).is_some(), "it is free");
            assert!(waiter.owner_racy().is_none());
        }),
    ];
    run(0, all);
}

/// Realtime threads have had their part of the CPU. A thread that is raised runs on all the
/// same, before another realtime thread of that level; the one that it was raised for doesn't.
#[test]
fn a_raised_thread_is_not_held_back() {
    let mutex = Arc::new(Lock::new(()));
    let goes = Arc::new(Completion::<Fake>::new());
    let ran = Arc::new(HostMutex::new(Vec::new()));
    let note = |name: &'static str| {
        let ran = Arc::clone(&ran);
        move || ran.lock().expect("no panic under it").push(name)
    };
    let (raised, ordinary, urgent, hog) = (
        note("raised"),
        note("ordinary"),
        note("urgent"),
        note("hog"),
    );
    let (owned, waits) = (Arc::clone(&mutex), Arc::clone(&goes));
    let (wanted, seen) = (Arc::clone(&mutex), mutex);
    let spent = Arc::clone(&goes);
    let all: Vec<Body> = vec![
        Box::new(move |_| {
            let held = owned.lock();
            waits.wait();
            raised();
            drop(held);
        }),
        Box::new(move |_| {
            while wanted.owner_racy().is_none() {
                Fake::sched().yield_now();
            }
            set_own_class(realtime(60));
            drop(wanted.lock());
            urgent();
        }),
        Box::new(move |_| {
            while !spent.try_wait() {
                Fake::sched().yield_now();
            }
            ordinary();
        }),
        Box::new(move |_| {
            while seen.waiting_racy() == 0 {
                Fake::sched().yield_now();
            }
            set_own_class(realtime(60));
            let masked = IrqGuard::<Fake>::new();
            Fake::set_now(now() + 960_000_000);
            Fake::sched().timer_interrupt();
            assert!(Fake::sched().holds_realtime_back(CpuId::BOOT));
            goes.complete();
            goes.complete();
            drop(masked);
            hog();
        }),
    ];
    run(1, all);
    let ran = ran.lock().expect("no panic under it");
    assert_eq!(*ran, ["raised", "ordinary", "hog", "urgent"]);
}

/// A thread is about to read under the hotplug lock, but has not counted itself, when a writer
/// waits for another reader and lends to both. The writer has left when the thread goes on.
#[test]
fn a_reader_that_no_writer_waited_for_keeps_no_loan() {
    let lock = Arc::new(CpusLock::<Fake>::new(1));
    let (reads, marked) = (Completion::<Fake>::new(), Completion::<Fake>::new());
    let all = Arc::new((lock, reads, marked, Completion::<Fake>::new()));
    let [first, second, writer] = [(); 3].map(|()| Arc::clone(&all));
    let all: Vec<Body> = vec![
        Box::new(move |_| {
            let (lock, reads, ..) = &*first;
            let held = lock.read();
            reads.complete();
            while own_level() == Class::Normal.level() {
                Fake::sched().yield_now();
            }
            drop(held);
            assert_eq!(own_level(), Class::Normal.level());
        }),
        Box::new(move |_| {
            let (lock, reads, ..) = &*second;
            reads.wait();
            let its = Arc::clone(&second);
            Fake::run_before_preempt_off(move || {
                let (_, _, marked, wrote) = &*its;
                marked.complete();
                wrote.wait();
                assert_eq!(own_level(), realtime(30).level(), "it was lent to");
            });
            drop(lock.read());
            assert_eq!(own_level(), Class::Normal.level(), "a loan is left");
        }),
        Box::new(move |_| {
            let (lock, _, marked, wrote) = &*writer;
            marked.wait();
            set_own_class(realtime(30));
            drop(lock.write());
            wrote.complete();
        }),
    ];
    run(0, all);
}

/// The owner of two mutexes gives back first the one that it took first: each loan goes with
/// its mutex.
#[test]
fn each_loan_goes_with_its_mutex() {
    let locks = (Lock::new(()), Mutex::<u8, Fake>::new(0));
    let all = Arc::new((locks.0, locks.1, Completion::<Fake>::new()));
    let [owner, more, less, starts] = [(); 4].map(|()| Arc::clone(&all));
    let all: Vec<Body> = vec![
        Box::new(move |_| {
            let first = owner.0.lock();
            let second = owner.1.lock();
            owner.2.wait();
            assert_eq!(own_level(), realtime(40).level());
            drop(first);
            assert_eq!(own_level(), realtime(20).level());
            drop(second);
            assert_eq!(own_level(), Class::Normal.level());
        }),
        Box::new(move |_| {
            while more.1.waiting_racy() == 0 {
                Fake::sched().yield_now();
            }
            set_own_class(realtime(40));
            drop(more.0.lock());
        }),
        Box::new(move |_| {
            while less.1.owner_racy().is_none() {
                Fake::sched().yield_now();
            }
            set_own_class(realtime(20));
            drop(less.1.lock());
        }),
        Box::new(move |_| {
            while starts.0.waiting_racy() == 0 {
                Fake::sched().yield_now();
            }
            starts.2.complete();
        }),
    ];
    run(0, all);
}

/// A thread ends with a mutex whose guard it has forgotten. Those that wait give up at their
/// limit, at whatever class they are by then, and the ended thread doesn't disturb that.
#[test]
fn an_owner_that_has_ended_leaves_others_to_their_limits() {
    let mutex = Arc::new(Lock::new(()));
    let waiting = Arc::new(HostMutex::new(Vec::new()));
    let goes = Arc::new(Completion::<Fake>::new());
    let (owned, waits) = (Arc::clone(&mutex), Arc::clone(&goes));
    let mut all: Vec<Body> = vec![Box::new(move |_| {
        core::mem::forget(owned.lock());
        waits.wait();
        assert_eq!(own_level(), realtime(31).level());
    })];
    all.extend(bodies(2, |number| {
        let (mutex, waiting) = (Arc::clone(&mutex), Arc::clone(&waiting));
        move |_: &mut Random| {
            let me = Fake::sched().current();
            waiting.lock().expect("no panic under it").push(me);
            while mutex.owner_racy().is_none() {
                Fake::sched().yield_now();
            }
            let number = u8::try_from(number).expect("two");
            set_own_class(realtime(30 + number));
            assert!(mutex.lock_until(Instant(100)).is_none());
            assert_eq!(own_level(), realtime(50).level());
        }
    }));
    let ended = mutex;
    all.push(Box::new(move |_| {
        while ended.waiting_racy() < 2 {
            Fake::sched().yield_now();
        }
        let owner = ended.owner_racy().expect("it holds the mutex");
        goes.complete();
        while !owner.has_ended() {
            Fake::sched().yield_now();
        }
        assert_eq!(Heir::level(&*owner), realtime(31).level());
        for waiter in waiting.lock().expect("no panic under it").iter() {
            Fake::sched().set_class(waiter, realtime(50));
        }
        assert_eq!(Heir::level(&*owner), realtime(50).level());
        let masked = IrqGuard::<Fake>::new();
        Fake::set_now(101);
        Fake::sched().timer_interrupt();
        drop(masked);
        while ended.waiting_racy() > 0 {
            Fake::sched().yield_now();
        }
        assert_eq!(Heir::level(&*owner), Class::Normal.level());
    }));
    run(0, all);
}
