//! Threads that wait for a grace period: what holds it up, what does not, and what it costs.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::{self, rcu, thread};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::kernel;
use stillpoint::platform::Sgi;
use stillpoint::println;
use stillpoint::sched::{Class, Priority};
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::WATCHED;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu, spin_until};

fn sgis() -> u64 {
    let number = Sgi::GracePeriod.number();
    let cpus = kernel().masks.possible();
    cpus.iter()
        .map(|cpu| kernel().interrupts.sgis(cpu, number))
        .sum()
}

pub(crate) fn idle_cpus(ktap: &mut Ktap) {
    const ROUNDS: u64 = 20;
    let others = kernel().masks.possible().count() as u64 - 1;
    let mut honest = true;
    // A CPU may be busy for a moment in some rounds, but not in all.
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

fn is_alone() -> bool {
    kernel().masks.possible().count() == 1
}

/// Starts `body` on the last CPU, with a function that tells that it has begun and a flag that
/// tells it to end; returns when it has begun.
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

pub(crate) fn computing(ktap: &mut Ktap) {
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

/// A more urgent thread keeps the thread that has begun a grace period from its CPU.
pub(crate) fn beginner_is_kept_away(ktap: &mut Ktap) {
    let name = "a grace period ends though the thread that began it is kept from its CPU";
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
        urgent.thread().unpark();
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

pub(crate) fn sections_hold_up(ktap: &mut Ktap) {
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

pub(crate) fn shared(ktap: &mut Ktap) {
    const CALLERS: u32 = 32;
    let name = "threads that wait together share grace periods";
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

pub(crate) fn tasks(ktap: &mut Ktap) {
    let sleeper = thread::spawn(thread::park);
    rcu::synchronize_tasks();
    ktap.check(
        "threads that sleep are not waited for",
        !sleeper.is_finished(),
    );
    sleeper.thread().unpark();
    sleeper.join();

    let (go, computes) = on_last(|begun, go| {
        begun();
        until(go);
    });
    let marked = is_alone() || preempt_for_good(|| computes.thread().inner().was_preempted_racy());
    let ended = computes.thread();
    let body = move || {
        rcu::synchronize_tasks();
        ended.inner().state_racy() == stillpoint::sched::ThreadState::Dead
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

/// Has a thread of a higher class preempt the thread that computes on the last CPU for a
/// moment; returns whether `look_fn` returned true then.
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
