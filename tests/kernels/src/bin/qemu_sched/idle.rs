//! CPUs without work: they have no tick, and take threads that wait on other CPUs.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::thread::{self, JoinHandle};
use stillpoint::cpu::{CpuId, CpuMask, PerCpu};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sched::Class;
use stillpoint::sync::atomic::{AtomicU64, Ordering};

use crate::start::{Flag, fifo, spawn};
use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, eventually, last_cpu, spin_for, spin_until};

/// Returns whether `cpu` has no timer interrupt for 50 ms. A timer that was armed before may
/// still expire, so this tries for a while.
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

pub(crate) fn without_a_tick(ktap: &mut Ktap) {
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

pub(crate) fn idle_cpus(ktap: &mut Ktap) {
    let woken = "a thread that wakes goes from a busy CPU to an idle one";
    let spread = "idle CPUs take threads that wait on other CPUs";
    let preempted = "and a thread that a FIFO thread has preempted";
    let bound = "though on a third CPU more threads wait that must stay there";
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

/// Returns whether a thread that a FIFO thread has preempted continues on another CPU, though
/// all other CPUs sleep by then.
fn preempted_goes_on() -> bool {
    let turns = Arc::new(AtomicU64::new(0));
    let own_turns = Arc::clone(&turns);
    let urgent = spawn(last_cpu(), fifo(1), move || {
        thread::sleep(Duration::from_millis(100));
        let before = own_turns.load(Ordering::Relaxed);
        // A short time: any other interrupt of an idle CPU has it check for threads too.
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
    let moved = preempted.thread().set_affinity(&all);
    moved.expect("all are active");
    let went_on = urgent.join();
    end.set();
    preempted.join();
    runs && went_on
}

/// Returns whether one of two threads on a CPU goes to an idle CPU, though on a third CPU more
/// threads wait, which must stay there.
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
        let thread = thread.thread();
        let moved = thread.set_affinity(&kernel().masks.online());
        moved.expect("all are active");
    }
    // This thread sleeps, so that its CPU is idle too.
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

/// Returns whether a sleeper whose CPU another thread has taken wakes on an idle one.
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

/// Returns whether threads that start on one CPU, two for each CPU, soon run on all CPUs.
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
        let thread = thread.thread();
        thread.set_affinity(&cpus).expect("all are active");
    }
    threads.into_iter().all(JoinHandle::join)
}
