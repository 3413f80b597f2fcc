//! Which thread has the CPU: preemption, priorities, a CPU without a tick, work for idle CPUs;
//! and in virtual time how fairly equals share, and how soon the urgent one runs.

//@ smp: 1 2 4 20
//@ timeout: 240
//@ cases: order time
//@ case: time
//@ icount: 1

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hint::black_box;
use core::time::Duration;

use stillpoint::api::thread::{self, Builder, JoinHandle};
use stillpoint::config::NORMAL_SLICE;
use stillpoint::cpu::{CpuId, CpuMask, PerCpu};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sched::lock::Mutex;
use stillpoint::sched::{Class, Priority};
use stillpoint::sync::PreemptGuard;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stillpoint::time::Instant;

use kernel_support::case::case;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, eventually, last_cpu, spin_for, spin_until};

fn main() {
    match case() {
        "time" => time(),
        _ => order(),
    }
}

fn order() -> ! {
    let mut ktap = Ktap::new();
    preemption(&mut ktap);
    priorities(&mut ktap);
    without_a_tick(&mut ktap);
    idle_cpus(&mut ktap);
    permits(&mut ktap);
    scope_ends(&mut ktap);
    woken_together(&mut ktap);
    ktap.finish()
}

/// A flag of several threads.
#[derive(Clone, Default)]
struct Flag(Arc<AtomicBool>);

impl Flag {
    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

fn spawn<T: Send + 'static>(
    cpu: CpuId,
    class: Class,
    body: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    Builder::new()
        .name("test")
        .affinity(CpuMask::of(cpu))
        .class(class)
        .spawn(body)
        .expect("a stack is free")
}

fn fifo(priority: u8) -> Class {
    Class::fifo(Priority::new(priority).expect("1 to 99"))
}

fn round_robin(priority: u8) -> Class {
    Class::round_robin(Priority::new(priority).expect("1 to 99"))
}

/// Whether a thread of `class` that never yields lets another one of that class run
/// on its CPU. The thread that starts them is more urgent than both.
fn shares(class: Class) -> bool {
    let cpu = last_cpu();
    let pair = spawn(cpu, fifo(99), move || {
        let came = Flag::default();
        let hog_came = came.clone();
        let hog = spawn(cpu, class, move || spin_until(|| hog_came.is_set()));
        (hog, spawn(cpu, class, move || came.set()))
    });
    let (hog, other) = pair.join();
    other.join();
    hog.join()
}

fn preemption(ktap: &mut Ktap) {
    let cpu = last_cpu();
    ktap.check(
        "a thread that never yields doesn't keep its equals from the CPU",
        shares(Class::Normal),
    );
    ktap.check(
        "nor does one of a realtime priority that takes turns",
        shares(round_robin(20)),
    );
    let waits = spawn(cpu, fifo(50), move || {
        let came = Flag::default();
        let threads = [Class::Normal, round_robin(49), fifo(49), fifo(50)].map(|class| {
            let came = came.clone();
            spawn(cpu, class, move || came.set())
        });
        // Long enough for every slice there is.
        spin_for(Duration::from_millis(120));
        (came.is_set(), threads)
    });
    let (early, threads) = waits.join();
    threads.into_iter().for_each(JoinHandle::join);
    ktap.check(
        "a FIFO thread keeps the CPU from its equals and from those below",
        !early,
    );
    let preempts = |own: Class, other: Class| {
        let body = move || {
            let came = Flag::default();
            let mark = came.clone();
            let thread = spawn(cpu, other, move || mark.set());
            let at_once = came.is_set();
            thread.join();
            at_once
        };
        spawn(cpu, own, body).join()
    };
    ktap.equal(
        "who is more urgent has the CPU before its waker goes on",
        [
            preempts(Class::Normal, fifo(1)),
            preempts(fifo(1), round_robin(2)),
            preempts(fifo(98), fifo(99)),
            preempts(fifo(99), fifo(98)),
            preempts(fifo(1), Class::Normal),
        ],
        [true, true, true, false, false],
    );
    let name = "who is woken from elsewhere preempts who is less urgent";
    if cpu == CpuId::BOOT {
        ktap.inapplicable(name, "one CPU: nobody else would run");
    } else {
        ktap.check(name, preempts_from_elsewhere());
    }
}

/// Whether the SGI of another CPU, this one, ends the turn of a less urgent thread.
fn preempts_from_elsewhere() -> bool {
    let (runs, came) = (Flag::default(), Flag::default());
    let (hog_runs, hog_came) = (runs.clone(), came.clone());
    let hog = spawn(last_cpu(), fifo(10), move || {
        hog_runs.set();
        spin_until(|| hog_came.is_set())
    });
    let started = eventually(|| runs.is_set());
    spawn(last_cpu(), fifo(11), move || came.set()).join();
    started && hog.join()
}

fn priorities(ktap: &mut Ktap) {
    let cpu = last_cpu();
    let ran = Arc::new(Mutex::<Vec<u8>, Hw>::new(Vec::with_capacity(16)));
    let list = Arc::clone(&ran);
    let starter = spawn(cpu, fifo(90), move || {
        let normal = Class::Normal;
        let classes = [
            (6, normal),
            (4, fifo(1)),
            (0, fifo(89)),
            (6, normal),
            (2, round_robin(30)),
            (1, fifo(50)),
            (6, normal),
            (3, fifo(30)),
            (5, round_robin(1)),
        ];
        classes.map(|(number, class)| {
            let list = Arc::clone(&list);
            spawn(cpu, class, move || list.lock().push(number))
        })
    });
    starter.join().into_iter().for_each(JoinHandle::join);
    ktap.equal(
        "threads of one CPU run by priority, whatever order they came in",
        ran.lock().clone(),
        [0, 1, 2, 3, 4, 5, 6, 6, 6].to_vec(),
    );
}

/// Whether `cpu` lets some 50 ms pass without an interrupt of its timer: what was
/// armed before may still go off.
fn is_without_a_tick(cpu: CpuId) -> bool {
    let count = || kernel().interrupts.timers(cpu);
    let limit = after(Duration::from_secs(30));
    while Hw::now() < limit {
        let before = count();
        spin_for(Duration::from_millis(50));
        if count() == before {
            return true;
        }
    }
    false
}

fn without_a_tick(ktap: &mut Ktap) {
    let me = thread::current();
    let anywhere = me.affinity();
    let here = CpuMask::of(CpuId::BOOT);
    me.set_affinity(&here).expect("the boot CPU is active");
    let several = last_cpu() != CpuId::BOOT;
    ktap.check(
        "a CPU with one runnable thread has no tick",
        is_without_a_tick(CpuId::BOOT),
    );
    let name = "nor has an idle one";
    if several {
        ktap.check(name, is_without_a_tick(last_cpu()));
    } else {
        ktap.inapplicable(name, "one CPU");
    }
    let end = Flag::default();
    let pair = [(); 2].map(|()| {
        let end = end.clone();
        spawn(last_cpu(), Class::Normal, move || {
            spin_until(|| end.is_set())
        })
    });
    let count = || kernel().interrupts.timers(last_cpu());
    let before = count();
    let ticks = eventually(|| count() >= before + 10);
    end.set();
    let ended = pair.map(JoinHandle::join);
    ktap.check(
        "one on which two take turns has",
        ticks && ended == [true, true],
    );
    me.set_affinity(&anywhere).expect("all are active");
}

fn idle_cpus(ktap: &mut Ktap) {
    let woken = "who is woken goes from a busy CPU to an idle one";
    let spread = "idle CPUs take what waits elsewhere";
    let preempted = "and who was preempted by one that takes no turns";
    let bound = "though more wait that may not come";
    if last_cpu() == CpuId::BOOT {
        for name in [woken, spread, preempted, bound] {
            ktap.inapplicable(name, "one CPU");
        }
        return;
    }
    ktap.check(woken, wakes_elsewhere());
    ktap.check(spread, spreads_out());
    ktap.check(preempted, preempted_goes_on());
    if kernel().masks.online().count() < 4 {
        ktap.inapplicable(bound, "two CPUs are kept busy, and two more are needed");
    } else {
        ktap.check(bound, spreads_past_the_bound());
    }
}

/// Whether a thread that a FIFO thread takes the CPU from goes on elsewhere, though
/// all other CPUs sleep by then.
fn preempted_goes_on() -> bool {
    let turns = Arc::new(AtomicU64::new(0));
    let own_turns = Arc::clone(&turns);
    let urgent = spawn(last_cpu(), fifo(1), move || {
        thread::sleep(Duration::from_millis(100));
        let before = own_turns.load(Ordering::Relaxed);
        // Not for long: any other interrupt of an idle CPU makes it look, too.
        spin_for(Duration::from_millis(1500));
        own_turns.load(Ordering::Relaxed) > before
    });
    let end = Flag::default();
    let (own_turns, own_end) = (Arc::clone(&turns), end.clone());
    let preempted = spawn(last_cpu(), Class::Normal, move || {
        while !own_end.is_set() {
            own_turns.fetch_add(1, Ordering::Relaxed);
        }
    });
    let runs = eventually(|| turns.load(Ordering::Relaxed) > 0);
    let all = kernel().masks.online();
    let moved = thread::Thread::from(preempted.thread()).set_affinity(&all);
    moved.expect("all are active");
    let went_on = urgent.join();
    end.set();
    preempted.join();
    runs && went_on
}

/// Whether of two threads on one CPU one goes to an idle CPU, though on a third one
/// more threads wait, which must stay there.
fn spreads_past_the_bound() -> bool {
    let end = Flag::default();
    let other = CpuId::new(last_cpu().index() - 1).expect("a CPU number");
    let bound = [(); 4].map(|()| {
        let end = end.clone();
        spawn(other, Class::Normal, move || spin_until(|| end.is_set()))
    });
    let places = Arc::new([(); 2].map(|()| AtomicU64::new(0)));
    let pair = [0, 1].map(|number| {
        let (places, end) = (Arc::clone(&places), end.clone());
        spawn(last_cpu(), Class::Normal, move || {
            while !end.is_set() {
                let cpu = thread::current_cpu_racy().index() as u64;
                places[number].store(cpu + 1, Ordering::Relaxed);
            }
        })
    });
    let place = |number: usize| places[number].load(Ordering::Relaxed);
    let run = eventually(|| place(0) > 0 && place(1) > 0);
    for thread in &pair {
        let thread = thread::Thread::from(thread.thread());
        let moved = thread.set_affinity(&kernel().masks.online());
        moved.expect("all are active");
    }
    // Asleep, so that this CPU is idle too.
    let limit = after(Duration::from_secs(10));
    while place(0) == place(1) && Hw::now() < limit {
        thread::sleep(Duration::from_millis(20));
    }
    let apart = place(0) != place(1);
    end.set();
    pair.into_iter().for_each(JoinHandle::join);
    let ended = bound.map(JoinHandle::join);
    run && apart && ended == [true; 4]
}

/// Whether a sleeper whose CPU is taken by another thread wakes on an idle one.
fn wakes_elsewhere() -> bool {
    const ROUNDS: usize = 20;
    let busy = last_cpu();
    let end = Flag::default();
    let hog_end = end.clone();
    let hog = spawn(busy, Class::Normal, move || spin_until(|| hog_end.is_set()));
    let sleeper = thread::spawn(move || {
        let me = thread::current();
        let anywhere = me.affinity();
        let elsewhere = |_: &usize| {
            me.set_affinity(&CpuMask::of(busy)).expect("it is active");
            let came = thread::current_cpu_racy() == busy;
            me.set_affinity(&anywhere).expect("all are active");
            thread::sleep(Duration::from_millis(1));
            came && thread::current_cpu_racy() != busy
        };
        (0..ROUNDS).filter(elsewhere).count()
    });
    let moved = sleeper.join();
    end.set();
    println!("# {moved} of {ROUNDS} woke on an idle CPU");
    hog.join() && moved >= ROUNDS / 2
}

/// Whether two threads for each CPU, started on one, are soon on all of them.
fn spreads_out() -> bool {
    let cpus = kernel().masks.online();
    let visits = Arc::new(PerCpu::new(cpus.count(), |_| AtomicU64::new(0)));
    let threads: Vec<_> = (0..2 * cpus.count())
        .map(|_| {
            let visits = Arc::clone(&visits);
            spawn(last_cpu(), Class::Normal, move || {
                spin_until(|| {
                    let here = thread::current_cpu_racy();
                    visits.get(here).fetch_add(1, Ordering::Relaxed);
                    visits
                        .iter()
                        .all(|(_, visits)| visits.load(Ordering::Relaxed) > 0)
                })
            })
        })
        .collect();
    for thread in &threads {
        let thread = thread::Thread::from(thread.thread());
        thread.set_affinity(&cpus).expect("all are active");
    }
    threads.into_iter().all(JoinHandle::join)
}

fn permits(ktap: &mut Ktap) {
    let me = thread::current();
    me.unpark();
    me.unpark();
    let first = thread::park_timeout(Duration::from_secs(30));
    let until = after(Duration::from_millis(2));
    let second = thread::park_timeout(Duration::from_millis(2));
    ktap.check(
        "a permit given before is found, and there is one at most",
        first && !second && Hw::now() >= until,
    );
    let turns = 200;
    let main = me.clone();
    let other = spawn(last_cpu(), Class::Normal, move || {
        (0..turns).all(|_| {
            let given = thread::park_timeout(Duration::from_secs(30));
            main.unpark();
            given
        })
    });
    let there = thread::Thread::from(other.thread());
    let here = (0..turns).all(|_| {
        there.unpark();
        thread::park_timeout(Duration::from_secs(30))
    });
    let mut shares = [0_u64; 8];
    thread::scope(|scope| {
        for (share, number) in shares.iter_mut().zip(1..) {
            let body = move || {
                thread::sleep(Duration::from_micros(100 * number));
                *share = number;
            };
            let _handle = scope.spawn(body);
        }
    });
    ktap.check(
        "threads hand each other the turn, and a scope waits for all of its own",
        here && other.join() && shares.iter().sum::<u64>() == 36,
    );
}

/// Two realtime threads that ran on one CPU are woken before either has come to run,
/// while ordinary threads compute on that CPU and on others.
fn woken_together(ktap: &mut Ktap) {
    let name = "of two urgent threads that wake together neither waits for the other";
    let all = kernel().masks.online();
    if all.count() < 3 {
        ktap.inapplicable(name, "two CPUs besides that of who wakes are needed");
        return;
    }
    let others = all.without(&CpuMask::of(CpuId::BOOT));
    let end = Flag::default();
    let both = Arc::new(AtomicU64::new(0));
    let urgent = [50, 40].map(|priority| {
        let both = Arc::clone(&both);
        spawn(last_cpu(), fifo(priority), move || {
            thread::park();
            both.fetch_add(1, Ordering::Relaxed);
            spin_until(|| both.load(Ordering::Relaxed) == 2)
        })
    });
    let threads = urgent
        .each_ref()
        .map(|one| thread::Thread::from(one.thread()));
    // They have parked there: a thread of least urgency has run.
    spawn(last_cpu(), Class::Normal, || ()).join();
    let hogs: Vec<_> = others
        .iter()
        .map(|cpu| {
            let (begun, end) = (Flag::default(), end.clone());
            let begins = begun.clone();
            let hog = spawn(cpu, Class::Normal, move || {
                begins.set();
                spin_until(|| end.is_set())
            });
            assert!(eventually(|| begun.is_set()), "it begins");
            hog
        })
        .collect();
    let me = thread::current();
    let anywhere = me.affinity();
    me.set_affinity(&CpuMask::of(CpuId::BOOT)).expect("active");
    for thread in &threads {
        thread.set_affinity(&others).expect("all are active");
    }
    {
        let _together = PreemptGuard::<Hw>::new();
        threads.iter().for_each(thread::Thread::unpark);
    }
    let met = urgent.map(JoinHandle::join);
    end.set();
    hogs.into_iter().for_each(|hog| assert!(hog.join(), "told"));
    me.set_affinity(&anywhere).expect("all are active");
    ktap.check(name, met == [true; 2]);
}

/// A more urgent thread waits for those of its scope on their CPU: it would have the
/// CPU back from one that has done its work and not ended.
fn scope_ends(ktap: &mut Ktap) {
    let cpu = last_cpu();
    let bound = spawn(cpu, fifo(50), move || {
        thread::scope(|scope| {
            let builder = Builder::new().affinity(CpuMask::of(cpu));
            let _handle = builder
                .on_offline(thread::OnOffline::Refuse)
                .spawn_scoped(scope, || ())
                .expect("a stack is free");
        });
        kernel().sched.bound_threads(cpu)
    });
    ktap.equal("a scope's threads have ended with it", bound.join(), 0);
}

/// In virtual time, which instructions make.
fn time() -> ! {
    let mut ktap = Ktap::new();
    ktap.check("equal threads have equal shares", fair_shares());
    let late = (0..10).filter_map(|_| latency()).max();
    println!("# realtime thread late by {late:?} at most");
    ktap.check(
        "a sleeper of realtime priority has the CPU long before a slice ends",
        late.is_some_and(|late| late < NORMAL_SLICE / 20),
    );
    ktap.check("who was preempted keeps its slice", slice_is_kept());
    ktap.finish()
}

/// How far the thread counts until `until`.
fn count_until(until: Instant) -> u64 {
    // QEMU needs long for a look at the time.
    const BETWEEN_LOOKS: u64 = 200;
    let mut count = 0;
    while Hw::now() < until {
        for _ in 0..BETWEEN_LOOKS {
            count = black_box(count + 1);
        }
    }
    count
}

/// Whether three threads of one CPU count equally far, within a tenth.
fn fair_shares() -> bool {
    let until = after(Duration::from_millis(200));
    let threads = [(); 3].map(|()| spawn(last_cpu(), Class::Normal, move || count_until(until)));
    let counts = threads.map(JoinHandle::join);
    println!("# {counts:?}");
    let most = counts.iter().max().copied().unwrap_or(0);
    let least = counts.iter().min().copied().unwrap_or(0);
    least * 11 >= most * 10
}

/// How late a realtime thread wakes on a CPU that an ordinary one has.
fn latency() -> Option<Duration> {
    let cpu = last_cpu();
    let end = Flag::default();
    let hog_end = end.clone();
    let hog = spawn(cpu, Class::Normal, move || spin_until(|| hog_end.is_set()));
    let late = spawn(cpu, fifo(1), move || {
        let at = after(Duration::from_millis(1));
        thread::sleep_until(at);
        Hw::now().ticks_since(at)
    });
    let late = late.join();
    end.set();
    hog.join()
        .then(|| Duration::from_nanos(Hw::frequency().ticks_to_ns(late)))
}

/// Two threads in turn, while a third preempts them all the time, for a moment each:
/// neither is kept from the CPU by that.
fn slice_is_kept() -> bool {
    let cpu = last_cpu();
    let until = after(Duration::from_millis(120));
    let pair = [(); 2].map(|()| spawn(cpu, Class::Normal, move || count_until(until)));
    let nuisance = spawn(cpu, fifo(1), move || {
        while Hw::now() < until {
            thread::sleep(Duration::from_micros(700));
        }
    });
    let [one, other] = pair.map(JoinHandle::join);
    nuisance.join();
    println!("# {one} and {other}");
    one.min(other) * 11 >= one.max(other) * 10
}
