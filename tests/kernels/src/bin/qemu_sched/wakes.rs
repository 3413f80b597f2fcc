//! Threads that wake each other: permits, and two urgent threads woken together.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::thread::{self, JoinHandle};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::sched::Class;
use stillpoint::sync::PreemptGuard;
use stillpoint::sync::atomic::{AtomicU64, Ordering};

use crate::start::{Flag, fifo, spawn};
use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, eventually, last_cpu, spin_until};

pub(crate) fn permits(ktap: &mut Ktap) {
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
    let there = other.thread();
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

/// Two realtime threads that last ran on the same CPU are woken before either runs, while
/// ordinary threads compute on that CPU and on others.
pub(crate) fn woken_together(ktap: &mut Ktap) {
    let name = "of two urgent threads that wake together neither waits for the other";
    let all = kernel().masks.online();
    if all.count() < 3 {
        ktap.inapplicable(name, "two CPUs besides the waker's are needed");
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
    let threads = urgent.each_ref().map(JoinHandle::thread);
    // They have parked, because a less urgent thread of their CPU has run.
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
