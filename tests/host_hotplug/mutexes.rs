//! What a thread does that waits for a mutex: it spins while the owner runs on another CPU, and
//! else it sleeps at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::HotplugHost;
use stillpoint::platform::Platform;
use stillpoint::sched::lock::Mutex;
use stillpoint::sched::{Class, Priority, SchedHost, Thread, ThreadName, ThreadState};
use stillpoint::sync::LocalCpu;

use crate::sim::Sim;

/// The CPU of the waiter, and another one. The thread of the test has the third one.
pub(crate) const WAITERS: usize = 2;
pub(crate) const OTHER: usize = 1;

type Shared = Arc<Mutex<(), Sim>>;

/// Each case below, on the boot CPU of three that are online. They share a machine, because its
/// threads never end.
#[test]
fn a_thread_spins_for_a_mutex_while_its_owner_runs() {
    on_three_cpus(|| {
        for case_fn in [
            it_does_not_sleep_if_the_owner_lets_go_soon,
            it_spins_if_it_has_a_limit_too,
            it_gives_up_at_once_if_its_limit_is_past,
            it_sleeps_if_the_owner_keeps_the_mutex,
            it_takes_its_place_anew_when_its_level_changes,
            it_sleeps_at_once_if_the_owner_sleeps,
            it_sleeps_at_once_if_the_owner_waits_for_its_cpu,
            it_sleeps_at_once_if_another_thread_waits_for_its_cpu,
        ] {
            case_fn(&Arc::new(Mutex::new(())));
        }
    });
}

/// Runs `test_fn` in a thread that stays on the boot CPU, with [`OTHER`] and [`WAITERS`] online.
pub(crate) fn on_three_cpus(test_fn: impl FnOnce() + Send + 'static) {
    Sim::run(3, || {
        for cpu in [OTHER, WAITERS] {
            assert_eq!(Sim::hotplug().cpu_up(number(cpu)), Ok(()));
        }
        let me = Sim::sched().current();
        let here = CpuMask::of(CpuId::BOOT);
        assert_eq!(Sim::sched().set_affinity(&me, &here), Ok(()));
        test_fn();
    });
}

pub(crate) fn number(cpu: usize) -> CpuId {
    CpuId::new(cpu).expect("a small number")
}

fn urgent() -> Class {
    Class::fifo(Priority::new(10).expect("1 to 99"))
}

pub(crate) fn spawn(
    cpu: usize,
    class: Class,
    body: impl FnOnce() + Send + 'static,
) -> Arc<Thread<Sim>> {
    let name = ThreadName::new(format_args!("on {cpu}"));
    let spawned = Sim::sched().spawn(name, class, &CpuMask::of(number(cpu)), body);
    spawned.expect("the CPU is active")
}

/// Has a thread of `class` wait for `mutex`. Returns it when it is in line.
fn wait_for(mutex: &Shared, class: Class) -> Arc<Thread<Sim>> {
    let own = Arc::clone(mutex);
    let waiter = spawn(WAITERS, class, move || drop(own.lock()));
    relax_until(|| mutex.waiting_racy() == 1);
    waiter
}

/// Has a thread of `cpu` hold `mutex` while it calls `hold_fn`. Returns when it holds it.
fn hold(mutex: &Shared, cpu: usize, hold_fn: impl FnOnce() + Send + 'static) {
    let own = Arc::clone(mutex);
    spawn(cpu, Class::Normal, move || {
        let _held = own.lock();
        hold_fn();
    });
    relax_until(|| mutex.owner_racy().is_some());
}

pub(crate) fn relax_until(mut is_so_fn: impl FnMut() -> bool) {
    while !is_so_fn() {
        Sim::relax();
    }
}

/// Takes turns until the flag is set.
fn compute_until(flag: &Arc<AtomicBool>) -> impl FnOnce() + Send + 'static {
    let flag = Arc::clone(flag);
    // Relaxed: one CPU of the machine runs at a time.
    move || relax_until(|| flag.load(Ordering::Relaxed))
}

fn it_does_not_sleep_if_the_owner_lets_go_soon(mutex: &Shared) {
    let held = mutex.lock();
    let waiter = wait_for(mutex, Class::Normal);
    assert_eq!(waiter.state_racy(), ThreadState::Running);
    drop(held);
    relax_until(|| {
        assert_ne!(waiter.state_racy(), ThreadState::Blocked);
        waiter.state_racy() == ThreadState::Dead
    });
}

fn it_spins_if_it_has_a_limit_too(mutex: &Shared) {
    let held = mutex.lock();
    let own = Arc::clone(mutex);
    let waiter = spawn(WAITERS, Class::Normal, move || {
        let limit = Sim::deadline(Duration::from_millis(1));
        assert!(own.lock_until(limit).is_some());
    });
    relax_until(|| mutex.waiting_racy() == 1);
    assert_eq!(waiter.state_racy(), ThreadState::Running);
    drop(held);
    relax_until(|| {
        assert_ne!(waiter.state_racy(), ThreadState::Blocked);
        waiter.state_racy() == ThreadState::Dead
    });
}

fn it_gives_up_at_once_if_its_limit_is_past(mutex: &Shared) {
    let end = Arc::new(AtomicBool::new(false));
    hold(mutex, OTHER, compute_until(&end));
    let now = Sim::now();
    assert!(mutex.lock_until(now).is_none());
    assert_eq!(Sim::now(), now, "no other CPU had a turn");
    end.store(true, Ordering::Relaxed);
}

fn it_sleeps_if_the_owner_keeps_the_mutex(mutex: &Shared) {
    let held = mutex.lock();
    let waiter = wait_for(mutex, Class::Normal);
    assert_eq!(waiter.state_racy(), ThreadState::Running);
    (0..50).for_each(|_| Sim::relax());
    assert_eq!(waiter.state_racy(), ThreadState::Blocked);
    drop(held);
    relax_until(|| waiter.state_racy() == ThreadState::Dead);
}

fn it_takes_its_place_anew_when_its_level_changes(mutex: &Shared) {
    let held = mutex.lock();
    let waiter = wait_for(mutex, Class::Normal);
    Sim::sched().set_class(&waiter, urgent());
    Sim::relax();
    assert_eq!(waiter.state_racy(), ThreadState::Blocked);
    drop(held);
    relax_until(|| waiter.state_racy() == ThreadState::Dead);
}

fn it_sleeps_at_once_if_the_owner_sleeps(mutex: &Shared) {
    hold(mutex, OTHER, || {
        Sim::sched().sleep_until(Sim::deadline(Duration::from_millis(1)));
    });
    (0..50).for_each(|_| Sim::relax());
    let waiter = wait_for(mutex, Class::Normal);
    assert_eq!(waiter.state_racy(), ThreadState::Blocked);
    relax_until(|| waiter.state_racy() == ThreadState::Dead);
}

fn it_sleeps_at_once_if_the_owner_waits_for_its_cpu(mutex: &Shared) {
    let end = Arc::new(AtomicBool::new(false));
    hold(mutex, WAITERS, compute_until(&end));
    let waiter = wait_for(mutex, urgent());
    assert_eq!(waiter.state_racy(), ThreadState::Blocked);
    end.store(true, Ordering::Relaxed);
    relax_until(|| waiter.state_racy() == ThreadState::Dead);
}

fn it_sleeps_at_once_if_another_thread_waits_for_its_cpu(mutex: &Shared) {
    let end = Arc::new(AtomicBool::new(false));
    let other = spawn(WAITERS, Class::Normal, compute_until(&end));
    relax_until(|| other.state_racy() == ThreadState::Running);
    let held = mutex.lock();
    let waiter = wait_for(mutex, urgent());
    assert_eq!(waiter.state_racy(), ThreadState::Blocked);
    drop(held);
    relax_until(|| waiter.state_racy() == ThreadState::Dead);
    end.store(true, Ordering::Relaxed);
}
