//! Which of several threads of one CPU runs: preemption, and the order of priorities.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::thread::{self, Builder, JoinHandle};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::sched::Class;
use stillpoint::sched::lock::Mutex;

use crate::start::{Flag, fifo, round_robin, spawn};
use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu, spin_for, spin_until};

/// Returns whether a thread of `class` that never yields lets another one of that class run on
/// its CPU. The thread that starts them is more urgent than both.
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

pub(crate) fn preemption(ktap: &mut Ktap) {
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
        // Longer than any slice.
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
        "a more urgent thread has the CPU before its waker goes on",
        [
            preempts(Class::Normal, fifo(1)),
            preempts(fifo(1), round_robin(2)),
            preempts(fifo(98), fifo(99)),
            preempts(fifo(99), fifo(98)),
            preempts(fifo(1), Class::Normal),
        ],
        [true, true, true, false, false],
    );
    let name = "a thread that another CPU wakes preempts a less urgent one";
    if cpu == CpuId::BOOT {
        ktap.inapplicable(name, "one CPU: no other thread would run");
    } else {
        ktap.check(name, preempts_from_elsewhere());
    }
}

/// Returns whether an SGI of this CPU has a more urgent thread preempt one on the last CPU.
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

pub(crate) fn priorities(ktap: &mut Ktap) {
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

/// A thread waits, on the same CPU, for a less urgent one of its scope. It must not get the CPU
/// back while that thread has done its work and not ended.
pub(crate) fn scope_ends(ktap: &mut Ktap) {
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
