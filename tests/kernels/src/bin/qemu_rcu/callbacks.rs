//! Callbacks: each runs once and in order, wherever it was queued and whatever computes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::hotplug::EnableStep;
use stillpoint::api::{self, rcu, thread};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::sched::lock::Completion;
use stillpoint::sched::{Class, Priority, ThreadState};
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::WATCHED;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu, leave_and_return, spin_until};

/// Returns how many threads of callbacks have not begun yet.
fn not_begun() -> usize {
    let mut parked = 0;
    kernel().sched.for_each_thread(|thread| {
        let serves = thread.name().as_str().starts_with("rcuc/");
        parked += usize::from(serves && thread.state_racy() == ThreadState::Parked);
    });
    parked
}

/// The threads that run callbacks begin with the first batch of their CPU, also where that CPU
/// has left before. Called before any callback was queued on a CPU but the first.
pub(crate) fn first_batches(ktap: &mut Ktap) {
    let others = kernel().masks.possible().count() - 1;
    ktap.check(
        "no thread runs for a CPU that has queued no callback",
        not_begun() >= others,
    );
    let ran = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&ran);
    let queues = EnableStep::new("queues").teardown(move |_| {
        let ran = Arc::clone(&counted);
        rcu::call_rcu(move || {
            ran.fetch_add(1, Ordering::Relaxed);
        });
        Ok(())
    });
    let queues = queues.install_nocalls().expect("a slot is free");
    let left = leave_and_return(|| {
        rcu::barrier();
        ran.load(Ordering::Relaxed) as usize == others
    });
    queues.remove_nocalls().expect("a thread may");
    ktap.check("a CPU's first callback runs while it is away", left);
    ktap.check("and has its thread begin", not_begun() <= 1);
}

/// Callbacks whose CPU leaves before they run.
pub(crate) fn every_callback_runs(ktap: &mut Ktap) {
    const EACH: u32 = 50;
    let go = Arc::new(Completion::<Hw>::new());
    let held_up = Arc::new(AtomicU32::new(0));
    let cpus: Vec<CpuId> = kernel().masks.possible().iter().collect();
    for cpu in &cpus {
        let (go, held_up) = (Arc::clone(&go), Arc::clone(&held_up));
        let waits = move || {
            held_up.fetch_add(1, Ordering::Release);
            go.wait();
        };
        api::spawn_on(*cpu, "queues", || rcu::call_rcu(waits))
            .expect("a stack")
            .join();
    }
    // The threads that run callbacks wait in these.
    let all = || held_up.load(Ordering::Acquire) as usize == cpus.len();
    assert!(eventually(all), "they run");
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
        go.complete_all();
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

/// Returns whether ten callbacks of each CPU that is online run on that CPU.
fn run_at_home() -> bool {
    let elsewhere = Arc::new(AtomicU32::new(0));
    for cpu in kernel().masks.online().iter() {
        let elsewhere = Arc::clone(&elsewhere);
        let queue = move || {
            for _ in 0..10 {
                let elsewhere = Arc::clone(&elsewhere);
                rcu::call_rcu(move || {
                    if thread::migrate_disable().cpu() != cpu {
                        elsewhere.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        };
        api::spawn_on(cpu, "queues", queue).expect("a stack").join();
    }
    rcu::barrier();
    elsewhere.load(Ordering::Relaxed) == 0
}

pub(crate) fn at_home(ktap: &mut Ktap) {
    ktap.check("callbacks run on the CPU that queued them", run_at_home());
    let moved = leave_and_return(|| {
        rcu::barrier();
        run_at_home()
    });
    ktap.check("and on its return again", moved && run_at_home());
}

pub(crate) fn any_context(ktap: &mut Ktap) {
    let ran = Arc::new(AtomicU32::new(0));
    let count = || {
        let ran = Arc::clone(&ran);
        move || {
            ran.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (still, handler, section) = (count(), count(), count());
    // `call_rcu` allocates, which a still point may not.
    let still = rcu::Callback::new(still);
    api::stop_machine(move || still.queue()).expect("the boot CPU is online");
    api::call_on(last_cpu(), move || rcu::call_rcu(handler)).expect("it is online");
    rcu::read(|_| rcu::call_rcu(section));
    rcu::barrier();
    ktap.equal(
        "a still point, a handler and a section may queue callbacks",
        ran.load(Ordering::Relaxed),
        3,
    );
}

pub(crate) fn barriers(ktap: &mut Ktap) {
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

/// Callbacks run in a normal thread, but their grace period doesn't wait for one.
pub(crate) fn urgent(ktap: &mut Ktap) {
    let begun = Arc::new(AtomicU32::new(0));
    let online = kernel().masks.online();
    let before = rcu::stats().grace_periods;
    let here = thread::migrate_disable();
    // This thread's own CPU comes last, because a computing thread there would keep this
    // thread from running.
    let mut order: Vec<CpuId> = online.without(&CpuMask::of(here.cpu())).iter().collect();
    order.push(here.cpu());
    let spawn = |cpu| {
        let (begun, all) = (Arc::clone(&begun), online.count());
        let body = move || {
            if begun.fetch_add(1, Ordering::Relaxed) + 1 == u32::try_from(all).expect("few") {
                rcu::call_rcu(|| ());
            }
            spin_until(|| rcu::stats().grace_periods > before)
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
        "nor do the most urgent threads, computing on all CPUs, hold up a grace period",
        urgent.into_iter().fold(true, |all, one| one.join() & all),
    );
    rcu::barrier();
}

/// Queues itself until `end` is said.
fn again(end: Arc<AtomicBool>) {
    if !end.load(Ordering::Relaxed) {
        rcu::call_rcu(move || again(end));
    }
}

pub(crate) fn queues_itself(ktap: &mut Ktap) {
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
        "a callback that queues itself keeps no other thread from a CPU",
        runs && moved,
    );
}
