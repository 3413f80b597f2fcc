//! Grace periods: readers never see what was freed, whatever CPUs come and go; every
//! callback runs once and in order; threads that wait together share; idle CPUs are left
//! alone, and computing ones hold nothing up.

//@ smp: 1 2 4 20
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr;
use core::time::Duration;

use stillpoint::api::{self, rcu, thread};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Sgi;
use stillpoint::println;
use stillpoint::sched::lock::Completion;
use stillpoint::sched::{Class, Priority};
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu, leave_and_return, secondaries, spin_until};

/// How long a thread that must wait is watched waiting.
const WATCHED: Duration = Duration::from_millis(20);

fn main() {
    let mut ktap = Ktap::new();
    readers(&mut ktap);
    every_callback_runs(&mut ktap);
    any_context(&mut ktap);
    barriers(&mut ktap);
    idle_cpus(&mut ktap);
    computing(&mut ktap);
    urgent(&mut ktap);
    queues_itself(&mut ktap);
    beginner_is_kept_away(&mut ktap);
    sections_hold_up(&mut ktap);
    shared(&mut ktap);
    tasks(&mut ktap);
    ktap.finish()
}

fn is_alone() -> bool {
    kernel().masks.possible().count() == 1
}

/// What readers read.
struct Object {
    alive: AtomicU64,
}

const ALIVE: u64 = 0x600d_600d_600d_600d;
const DEAD: u64 = 0xdead_dead_dead_dead;

/// An object that no reader finds any more.
struct Retired(*mut Object);

// SAFETY: it is handed to the code that frees it.
unsafe impl Send for Retired {}

impl Object {
    fn publish() -> *mut Object {
        Box::into_raw(Box::new(Object {
            alive: AtomicU64::new(ALIVE),
        }))
    }
}

impl Retired {
    /// After a grace period.
    fn free(self) {
        // SAFETY: from `publish`, retired by one swap; no reader has it any more, or
        // this test has found what it looks for.
        let object = unsafe { Box::from_raw(self.0) };
        object.alive.store(DEAD, Ordering::Relaxed);
    }
}

static SHARED: AtomicPtr<Object> = AtomicPtr::new(ptr::null_mut());

fn replace() -> Retired {
    Retired(SHARED.swap(Object::publish(), Ordering::AcqRel))
}

/// Reads in sections until `stop`; returns how many, and how many found a dead one.
fn read_on(stop: &AtomicBool) -> (u64, u64) {
    let (mut sections, mut dead) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        rcu::read(|_| {
            // SAFETY: published, and not freed before this section ends: what the
            // test is about.
            let object = unsafe { &*SHARED.load(Ordering::Acquire) };
            for _ in 0..20 {
                dead += u64::from(object.alive.load(Ordering::Relaxed) != ALIVE);
                // Sections nest.
                rcu::read(|_| Hw::relax());
            }
        });
        sections += 1;
    }
    (sections, dead)
}

fn readers(ktap: &mut Ktap) {
    let cpus = kernel().masks.possible().count();
    let stop = Arc::new(AtomicBool::new(false));
    SHARED.store(Object::publish(), Ordering::Release);
    let before = rcu::stats();
    let readers: Vec<_> = (0..cpus)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || read_on(&stop))
        })
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let stop = Arc::clone(&stop);
            let write = move || {
                let mut written: u64 = 0;
                while !stop.load(Ordering::Relaxed) {
                    let retired = replace();
                    if number % 2 == 0 {
                        rcu::call_rcu(move || retired.free());
                    } else {
                        rcu::synchronize();
                        retired.free();
                    }
                    written += 1;
                    if written.is_multiple_of(64) {
                        rcu::barrier();
                    }
                }
                written
            };
            thread::spawn(write)
        })
        .collect();
    let mut moved = true;
    for _ in 0..3 {
        for cpu in secondaries().into_iter().take(4) {
            moved &= api::cpu_down(cpu).is_ok();
            api::sleep(Duration::from_millis(2));
            moved &= api::cpu_up(cpu).is_ok();
        }
        api::sleep(Duration::from_millis(50));
    }
    stop.store(true, Ordering::Relaxed);
    let read: Vec<_> = readers.into_iter().map(thread::JoinHandle::join).collect();
    let written: u64 = writers.into_iter().map(thread::JoinHandle::join).sum();
    rcu::barrier();
    let after = rcu::stats();
    let sections: u64 = read.iter().map(|(sections, _)| sections).sum();
    println!("# {sections} sections, {written} replaced, {before:?} to {after:?}");
    ktap.check("CPUs come and go under readers and writers", moved);
    ktap.check(
        "all readers read, and writers write",
        read.iter().all(|(sections, _)| *sections > 0) && written > 0,
    );
    ktap.check(
        "no reader sees what was freed",
        read.iter().all(|(_, dead)| *dead == 0),
    );
    ktap.equal(
        "as many callbacks run as were queued",
        after.ran,
        after.queued,
    );
    Retired(SHARED.swap(ptr::null_mut(), Ordering::AcqRel)).free();
}

/// Callbacks that wait on a CPU that leaves.
fn every_callback_runs(ktap: &mut Ktap) {
    const EACH: u32 = 50;
    let go = Arc::new(Completion::<Hw>::new());
    let runs = Arc::new(AtomicBool::new(false));
    let (held, says) = (Arc::clone(&go), Arc::clone(&runs));
    rcu::call_rcu(move || {
        says.store(true, Ordering::Release);
        held.wait();
    });
    // What is queued later would be of the same pass, and of a CPU before this one's.
    assert!(eventually(|| runs.load(Ordering::Acquire)), "it runs");
    let cpus: Vec<CpuId> = kernel().masks.possible().iter().collect();
    let next: Arc<Vec<AtomicU32>> = Arc::new(cpus.iter().map(|_| AtomicU32::new(0)).collect());
    let out_of_order = Arc::new(AtomicU32::new(0));
    for cpu in &cpus {
        let (next, out_of_order) = (Arc::clone(&next), Arc::clone(&out_of_order));
        let index = cpu.index();
        let queue = move || {
            for number in 0..EACH {
                let (next, out_of_order) = (Arc::clone(&next), Arc::clone(&out_of_order));
                rcu::call_rcu(move || {
                    if next[index].fetch_add(1, Ordering::Relaxed) != number {
                        out_of_order.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        };
        api::spawn_on(*cpu, "queues", queue)
            .expect("a stack")
            .join();
    }
    let none_yet = || next.iter().all(|ran| ran.load(Ordering::Relaxed) == 0);
    let mut waiting = false;
    let moved = leave_and_return(|| {
        waiting = none_yet();
        go.complete();
        rcu::barrier();
        true
    });
    ktap.check("callbacks wait while their CPUs leave", moved && waiting);
    ktap.check(
        "and run without them, each once and in order",
        next.iter().all(|ran| ran.load(Ordering::Relaxed) == EACH)
            && out_of_order.load(Ordering::Relaxed) == 0,
    );
}

fn any_context(ktap: &mut Ktap) {
    let ran = Arc::new(AtomicU32::new(0));
    let count = || {
        let ran = Arc::clone(&ran);
        move || {
            ran.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (still, handler, section) = (count(), count(), count());
    api::stop_machine(move || rcu::call_rcu(still)).expect("the boot CPU is online");
    api::call_on(last_cpu(), move || rcu::call_rcu(handler)).expect("it is online");
    rcu::read(|_| rcu::call_rcu(section));
    rcu::barrier();
    ktap.equal(
        "a still point, a handler and a section may queue callbacks",
        ran.load(Ordering::Relaxed),
        3,
    );
}

fn barriers(ktap: &mut Ktap) {
    let before = rcu::stats();
    rcu::barrier();
    ktap.equal(
        "a barrier with nothing before it has nothing run",
        rcu::stats().ran,
        before.ran,
    );
    let late = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&late);
    rcu::call_rcu(move || {
        api::sleep(WATCHED);
        done.store(true, Ordering::Relaxed);
    });
    rcu::barrier();
    ktap.check(
        "a barrier waits for a callback that runs",
        late.load(Ordering::Relaxed),
    );
}

fn sgis() -> u64 {
    let number = Sgi::GracePeriod.number();
    let cpus = kernel().masks.possible();
    cpus.iter()
        .map(|cpu| kernel().interrupts.sgis(cpu, number))
        .sum()
}

fn idle_cpus(ktap: &mut Ktap) {
    const ROUNDS: u64 = 20;
    let others = kernel().masks.possible().count() as u64 - 1;
    let mut honest = true;
    // A CPU may have something to do for a moment; not always.
    let left_alone = eventually(|| {
        api::sleep(Duration::from_millis(5));
        let (before, taken) = (rcu::stats(), sgis());
        (0..ROUNDS).for_each(|_| rcu::synchronize());
        let after = rcu::stats();
        let (asked, idle) = (after.asked - before.asked, after.idle - before.idle);
        honest &= sgis() - taken == asked && asked + idle == ROUNDS * others;
        asked == 0
    });
    ktap.check("idle CPUs are sent no SGI", left_alone);
    ktap.check("the counters agree with the interrupts", honest);
}

/// Runs `body` on the last CPU until `go` is said; returns when it has begun.
fn on_last<T: Send + 'static>(
    body: impl FnOnce(&dyn Fn(), &AtomicBool) -> T + Send + 'static,
) -> (Arc<AtomicBool>, thread::JoinHandle<T>) {
    let go = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(AtomicBool::new(false));
    let (said, says) = (Arc::clone(&go), Arc::clone(&begun));
    let body = move || body(&|| says.store(true, Ordering::Release), &said);
    let thread = api::spawn_on(last_cpu(), "last", body).expect("a stack");
    assert!(eventually(|| begun.load(Ordering::Acquire)), "it begins");
    (go, thread)
}

fn until(go: &AtomicBool) {
    spin_until(|| go.load(Ordering::Acquire));
}

fn computing(ktap: &mut Ktap) {
    let name = "a thread that computes holds up no grace period";
    let (go, thread) = on_last(|begun, go| {
        begun();
        until(go);
    });
    (0..10).for_each(|_| rcu::synchronize());
    let still_computes = !thread.is_finished();
    go.store(true, Ordering::Release);
    thread.join();
    ktap.check(name, still_computes);
}

fn urgent(ktap: &mut Ktap) {
    let ran = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(AtomicU32::new(0));
    let online = kernel().masks.online();
    let here = thread::migrate_disable();
    // Our own CPU last: a thread that computes there keeps us from it.
    let mut order: Vec<CpuId> = online.without(&CpuMask::of(here.cpu())).iter().collect();
    order.push(here.cpu());
    let spawn = |cpu| {
        let (ran, begun, all) = (Arc::clone(&ran), Arc::clone(&begun), online.count());
        let body = move || {
            if begun.fetch_add(1, Ordering::Relaxed) + 1 == u32::try_from(all).expect("few") {
                let ran = Arc::clone(&ran);
                rcu::call_rcu(move || ran.store(true, Ordering::Release));
            }
            spin_until(|| ran.load(Ordering::Acquire))
        };
        let builder = thread::Builder::new().class(Class::fifo(Priority::MAX));
        builder
            .affinity(CpuMask::of(cpu))
            .spawn(body)
            .expect("a stack")
    };
    let urgent: Vec<_> = order.into_iter().map(spawn).collect();
    drop(here);
    ktap.check(
        "nor do the most urgent threads, computing on all CPUs, hold up callbacks",
        urgent.into_iter().fold(true, |all, one| one.join() & all),
    );
}

/// Queues itself until `end` is said.
fn again(end: Arc<AtomicBool>) {
    if !end.load(Ordering::Relaxed) {
        rcu::call_rcu(move || again(end));
    }
}

fn queues_itself(ktap: &mut Ktap) {
    let end = Arc::new(AtomicBool::new(false));
    let before = rcu::stats().ran;
    again(Arc::clone(&end));
    let runs = eventually(|| rcu::stats().ran > before + 3);
    let moved = leave_and_return(|| {
        api::sleep(WATCHED);
        true
    });
    end.store(true, Ordering::Relaxed);
    rcu::barrier();
    ktap.check(
        "a callback that queues itself keeps nobody from a CPU",
        runs && moved,
    );
}

/// A thread that has begun a grace period is kept from its CPU by a more urgent one.
fn beginner_is_kept_away(ktap: &mut Ktap) {
    let name = "a grace period ends though who began it is kept from the CPU";
    if is_alone() {
        ktap.inapplicable(name, "there is one CPU");
        return;
    }
    let me = thread::current();
    let anywhere = me.affinity();
    let boot = CpuMask::of(CpuId::BOOT);
    me.set_affinity(&boot).expect("it is active");
    let end = Arc::new(AtomicBool::new(false));
    let comes = Arc::new(AtomicBool::new(false));
    let (ends, says) = (Arc::clone(&end), Arc::clone(&comes));
    let urgent = thread::Builder::new()
        .class(Class::fifo(Priority::MAX))
        .affinity(CpuMask::of(last_cpu()))
        .spawn(move || {
            thread::park();
            says.store(true, Ordering::Release);
            until(&ends);
        })
        .expect("a stack");
    let (go, beginner) = on_last(|begun, go| {
        begun();
        until(go);
        rcu::synchronize();
    });
    let asked = rcu::stats().asked;
    rcu::read(|_| {
        go.store(true, Ordering::Release);
        assert!(spin_until(|| rcu::stats().asked > asked), "it begins");
        thread::Thread::from(urgent.thread()).unpark();
        until(&comes);
    });
    (0..3).for_each(|_| rcu::synchronize());
    let still_computes = !urgent.is_finished();
    end.store(true, Ordering::Release);
    urgent.join();
    beginner.join();
    me.set_affinity(&anywhere).expect("all are active");
    ktap.check(name, still_computes);
}

fn sections_hold_up(ktap: &mut Ktap) {
    let names = [
        "a section on another CPU holds up a grace period",
        "and it ends with the section",
    ];
    if is_alone() {
        for name in names {
            ktap.inapplicable(name, "there is one CPU");
        }
        return;
    }
    let ended = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&ended);
    let (go, reader) = on_last(move |begun, go| {
        rcu::read(|_| {
            begun();
            until(go);
            ends.store(true, Ordering::Relaxed);
        });
    });
    let seen = Arc::clone(&ended);
    let body = move || {
        rcu::synchronize();
        seen.load(Ordering::Relaxed)
    };
    let waiter = api::spawn_on(CpuId::BOOT, "waits", body).expect("a stack");
    api::sleep(WATCHED);
    ktap.check(names[0], !waiter.is_finished());
    go.store(true, Ordering::Release);
    ktap.check(names[1], waiter.join());
    reader.join();
}

fn shared(ktap: &mut Ktap) {
    const CALLERS: u32 = 32;
    let name = "those who wait together share grace periods";
    if is_alone() {
        ktap.inapplicable(name, "there is one CPU");
        return;
    }
    let (go, reader) = on_last(|begun, go| {
        rcu::read(|_| {
            begun();
            until(go);
        });
    });
    let before = rcu::stats().grace_periods;
    let called = Arc::new(AtomicU32::new(0));
    let elsewhere = kernel().masks.online().without(&CpuMask::of(last_cpu()));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let called = Arc::clone(&called);
            let body = move || {
                called.fetch_add(1, Ordering::Relaxed);
                rcu::synchronize();
            };
            let builder = thread::Builder::new().affinity(elsewhere);
            builder.spawn(body).expect("a stack")
        })
        .collect();
    let all_called = eventually(|| called.load(Ordering::Relaxed) == CALLERS);
    api::sleep(WATCHED);
    go.store(true, Ordering::Release);
    callers.into_iter().for_each(thread::JoinHandle::join);
    reader.join();
    let cost = rcu::stats().grace_periods - before;
    println!("# {CALLERS} callers: {cost} grace periods");
    ktap.check(name, all_called && (1..=3).contains(&cost));
}

fn tasks(ktap: &mut Ktap) {
    let sleeper = thread::spawn(thread::park);
    rcu::synchronize_tasks();
    ktap.check(
        "threads that sleep are not waited for",
        !sleeper.is_finished(),
    );
    thread::Thread::from(sleeper.thread()).unpark();
    sleeper.join();

    let (go, computes) = on_last(|begun, go| {
        begun();
        until(go);
    });
    let marked = is_alone() || preempt_for_good(|| computes.thread().is_marked_racy());
    let ended = Arc::clone(computes.thread());
    let body = move || {
        rcu::synchronize_tasks();
        ended.state_racy() == stillpoint::sched::ThreadState::Dead
    };
    let waiter = api::spawn_on(CpuId::BOOT, "waits", body).expect("a stack");
    api::sleep(WATCHED);
    rcu::synchronize();
    ktap.check(
        "one that was preempted is, though it is in no section",
        marked && !waiter.is_finished(),
    );
    go.store(true, Ordering::Release);
    ktap.check("until it ends", waiter.join());
    computes.join();
}

/// Has a thread of a higher class take the last CPU from the thread that computes there, for a
/// moment; returns what `look_fn` said then.
fn preempt_for_good(look_fn: impl Fn() -> bool) -> bool {
    let go = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&go);
    let urgent = thread::Builder::new()
        .class(Class::fifo(Priority::new(50).expect("it is one")))
        .affinity(CpuMask::of(last_cpu()))
        .spawn(move || until(&said))
        .expect("a stack");
    let looked = eventually(look_fn);
    go.store(true, Ordering::Release);
    urgent.join();
    looked
}
