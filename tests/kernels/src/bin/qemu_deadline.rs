//! Ways down with a deadline: a pinned thread, a step that takes long, a reader and a CPU with
//! preemption off are named, and all is as before. Of a batch a CPU that is late by itself stays,
//! and the others go. An ENABLE step that refuses stops no thread.

//@ smp: 2 4 8
//@ timeout: 120

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::hotplug::{
    self, Awaited, BatchError, CpuDownError, EnableStep, StepError, cpu_down_before,
    cpus_down_before,
};
use stillpoint::api::{self, thread, time};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::errno::Errno;
use stillpoint::kernel::{Hw, kernel};
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stillpoint::sync::{LocalCpu, PreemptGuard};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu, masks_say, secondaries, states_say};
use kernel_support::unharmed::same;

const SHORT: Duration = Duration::from_millis(200);

fn main() {
    let mut ktap = Ktap::new();
    let cpu = last_cpu();
    ktap.check("a pinned thread is named", pinned(cpu));
    ktap.check("a step that takes long is named", dawdles(cpu));
    ktap.check("a reader of the CPUs is named", reads(cpu));
    ktap.check("a CPU with preemption off is named", busy(cpu));
    ktap.check("the limit of each way down holds", limit(cpu));
    ktap.check(
        "a CPU of a batch that is late stays, the others go",
        one_late(cpu),
    );
    ktap.check(
        "a batch that can't stop the machine turns back",
        none_goes(cpu),
    );
    ktap.check("a freeze that is late is taken back", not_frozen(cpu));
    ktap.check("a step that refuses stops no thread", refuses());
    ktap.check("all are up", all_up());
    ktap.finish()
}

fn all_up() -> bool {
    let all = kernel().masks.possible();
    masks_say(all) & states_say(all)
}

fn down(cpu: CpuId) -> Result<(), CpuDownError> {
    cpu_down_before(cpu, time::deadline(SHORT))
}

/// Returns whether all CPUs are up, and `cpu` leaves and comes back without a deadline.
fn is_back(cpu: CpuId) -> bool {
    all_up()
        & same("down", api::cpu_down(cpu), Ok(()))
        & same("up", api::cpu_up(cpu), Ok(()))
        & all_up()
}

/// Runs `hold_fn` in a thread `holds` on `on`, which it keeps until `test_fn` has returned.
fn while_held<R>(
    on: CpuId,
    hold_fn: fn(&AtomicBool, &AtomicBool),
    test_fn: impl FnOnce() -> R,
) -> R {
    let flags = Arc::new((AtomicBool::new(false), AtomicBool::new(false)));
    let theirs = Arc::clone(&flags);
    // Not `spawn_on`: that would hold off hotplug.
    let only = thread::Builder::new()
        .name("holds")
        .affinity(CpuMask::of(on));
    let holder = only.spawn(move || hold_fn(&theirs.0, &theirs.1));
    let holder = holder.expect("the CPU is active");
    let holds = eventually(|| flags.0.load(Ordering::Acquire));
    let result = test_fn();
    flags.1.store(true, Ordering::Release);
    holder.join();
    assert!(holds, "the other thread didn't come");
    result
}

fn wait(done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(1));
    }
}

fn pinned(cpu: CpuId) -> bool {
    let refused = while_pinned(cpu, || down(cpu));
    let named = matches!(
        refused,
        Err(CpuDownError::Step { error: StepError::Pinned(name), .. }) if name.as_str() == "holds"
    );
    same("refused", named, true) & times_out(refused) & is_back(cpu)
}

fn times_out(refused: Result<(), CpuDownError>) -> bool {
    same(
        "errno",
        refused.map_err(|error| error.errno()),
        Err(Errno::TimedOut),
    )
}

fn dawdles(cpu: CpuId) -> bool {
    let step = EnableStep::new("slow").teardown(|_| {
        thread::sleep(2 * SHORT);
        Ok(())
    });
    let step = step.install().expect("a slot is free");
    let error = StepError::Late;
    let refused = CpuDownError::Step {
        cpu,
        step: step.name(),
        error,
    };
    let named = same("refused", down(cpu), Err(refused)) & is_back(cpu);
    // Its removal takes as long, for each CPU.
    named & same("removed", step.remove_nocalls().is_ok(), true)
}

fn reads(cpu: CpuId) -> bool {
    let hold = |holds: &AtomicBool, done: &AtomicBool| {
        let _held = hotplug::cpus_read_lock();
        holds.store(true, Ordering::Release);
        wait(done);
    };
    let refused = while_held(CpuId::BOOT, hold, || {
        let refused = down(cpu);
        // Readers are let in again at once.
        drop(hotplug::cpus_read_lock());
        refused
    });
    let named = matches!(
        refused,
        Err(CpuDownError::Late { awaited: Awaited::Reader(name), .. }) if name.as_str() == "holds"
    );
    same("refused", named, true) & times_out(refused) & is_back(cpu)
}

/// Has preemption off until `done`.
fn busy_there(holds: &AtomicBool, done: &AtomicBool) {
    let _here = PreemptGuard::<Hw>::new();
    holds.store(true, Ordering::Release);
    while !done.load(Ordering::Acquire) {
        Hw::relax();
    }
}

fn busy(cpu: CpuId) -> bool {
    let other = secondaries().into_iter().find(|other| *other != cpu);
    // On two CPUs the thread would be in the way of this one.
    let Some(other) = other else { return true };
    thread::current()
        .set_affinity(&CpuMask::of(CpuId::BOOT))
        .expect("it is active");
    let refused = while_held(other, busy_there, || down(cpu));
    let back = thread::current().set_affinity(kernel().masks.possible());
    let error = StepError::NotQuiescent(other);
    let step = kernel().hotplug.step_name(row("sync:active"));
    same(
        "refused",
        refused,
        Err(CpuDownError::Step { cpu, step, error }),
    ) & back.is_ok()
        & is_back(cpu)
}

fn row(name: &str) -> usize {
    let mut steps = kernel().hotplug.steps().iter();
    steps.position(|step| step.name == name).expect("a step")
}

fn limit(cpu: CpuId) -> bool {
    let before = hotplug::down_limit();
    hotplug::set_down_limit(Some(SHORT));
    let refused = while_pinned(cpu, || api::cpu_down(cpu));
    hotplug::set_down_limit(before);
    same("before", before, None) & times_out(refused) & is_back(cpu)
}

/// Returns the secondaries, as a set.
fn set() -> CpuMask {
    secondaries().into_iter().collect()
}

/// Has a thread pinned to `on` while `test_fn` runs.
fn while_pinned<R>(on: CpuId, test_fn: impl FnOnce() -> R) -> R {
    let hold = |holds: &AtomicBool, done: &AtomicBool| {
        let _here = thread::migrate_disable();
        holds.store(true, Ordering::Release);
        wait(done);
    };
    while_held(on, hold, test_fn)
}

/// A pinned thread keeps its CPU, and no other, with one still point: also if the limit is that
/// of all ways down. So does a step that takes long there.
fn one_late(cpu: CpuId) -> bool {
    let before = || cpus_down_before(&set(), time::deadline(5 * SHORT));
    let by_limit = || {
        hotplug::set_down_limit(Some(5 * SHORT));
        let went = hotplug::cpus_down(&set());
        hotplug::set_down_limit(None);
        went
    };
    let pinned_before = || while_pinned(cpu, before);
    let pinned_by_limit = || while_pinned(cpu, by_limit);
    // It lasts longer than until the deadline, and isn't interrupted.
    let dawdles = || {
        let step = EnableStep::new("slow").teardown(move |on| {
            if on == cpu {
                thread::sleep(10 * SHORT);
            }
            Ok(())
        });
        let step = step.install().expect("a slot is free");
        let went = before();
        assert!(step.remove_nocalls().is_ok(), "it is not installed");
        went
    };
    let downs: [&dyn Fn() -> Result<(), BatchError<CpuDownError>>; 3] =
        [&pinned_before, &pinned_by_limit, &dawdles];
    downs.iter().all(|down_fn| {
        let stops = kernel().stop_machine.stops();
        let went = down_fn();
        let stops = kernel().stop_machine.stops() - stops;
        let stay: CpuMask = [CpuId::BOOT, cpu].into_iter().collect();
        let late = went.map_err(|failed| (failed.cpus(), failed.errno()));
        same("late", late, Err((CpuMask::of(cpu), Errno::TimedOut)))
            & same("still points", stops, u64::from(set().count() > 1))
            & masks_say(&stay)
            & states_say(&stay)
            & set().iter().all(|cpu| api::cpu_up(cpu).is_ok())
            & is_back(cpu)
    })
}

/// The last CPU stays, with preemption off.
fn none_goes(cpu: CpuId) -> bool {
    let goes = set().without(&CpuMask::of(cpu));
    if goes.count() < 2 {
        return true;
    }
    let me = thread::current();
    me.set_affinity(&CpuMask::of(CpuId::BOOT))
        .expect("it is active");
    let stops = kernel().stop_machine.stops();
    let went = while_held(cpu, busy_there, || {
        cpus_down_before(&goes, time::deadline(SHORT))
    });
    let back = me.set_affinity(kernel().masks.possible());
    let stops = kernel().stop_machine.stops() - stops;
    let awaited = Awaited::Cpu(cpu);
    let named = went.is_err_and(|failed| {
        let late = |(cpu, error): &(CpuId, CpuDownError)| {
            *error == CpuDownError::Late { cpu: *cpu, awaited }
        };
        failed.cpus() == goes && failed.failed().iter().all(late)
    });
    same("named", named, true) & same("still points", stops, 0) & back.is_ok() & is_back(cpu)
}

fn not_frozen(cpu: CpuId) -> bool {
    hotplug::set_down_limit(Some(SHORT));
    let frozen = while_pinned(cpu, || hotplug::freeze(CpuId::BOOT).map(drop));
    hotplug::set_down_limit(None);
    let frozen = frozen.map_err(|error| error.errno());
    same("frozen", frozen, Err(Errno::TimedOut)) & is_back(cpu)
}

/// Whether a step that refuses leaves all threads running, also those of the CPU.
fn refuses() -> bool {
    static TURNS: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
    static DONE: AtomicBool = AtomicBool::new(false);
    let step = EnableStep::new("refuses").teardown(|_| Err(Errno::Busy));
    let step = step.install().expect("a slot is free");
    let all = kernel().masks.possible();
    let runs = |number: usize| {
        move || {
            while !DONE.load(Ordering::Relaxed) {
                TURNS[number].fetch_add(1, Ordering::Relaxed);
                if number.is_multiple_of(2) {
                    thread::sleep(Duration::from_micros(50));
                }
            }
        }
    };
    let threads: Vec<_> = (0..TURNS.len())
        .map(|number| thread::spawn(runs(number)))
        .collect();
    let mut sound = true;
    for _ in 0..10 {
        for cpu in secondaries() {
            let refused = CpuDownError::Step {
                cpu,
                step: step.name(),
                error: StepError::Refused(Errno::Busy),
            };
            sound &= same("refused", api::cpu_down(cpu), Err(refused)) & masks_say(all);
        }
    }
    let seen: Vec<u64> = TURNS
        .iter()
        .map(|turns| turns.load(Ordering::Relaxed))
        .collect();
    let goes_on = |number: usize| TURNS[number].load(Ordering::Relaxed) > seen[number];
    sound &= eventually(|| (0..TURNS.len()).all(goes_on));
    DONE.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join();
    }
    sound & step.remove_nocalls().is_ok()
}
