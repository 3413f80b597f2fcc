//! Several CPUs go in one operation: one still point and one grace period, threads and calls
//! that are under way meanwhile, CPUs that may not go, and nothing that is used up.

//@ smp: 1 2 4 8
//@ timeout: 120

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api;
use stillpoint::api::hotplug::{self, CpuDownError, EnableStep, StepError};
use stillpoint::api::thread::{self, Builder};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::errno::Errno;
use stillpoint::hotplug::{PartKind, RecordedWalk};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{last_cpu, masks_say, secondaries, states_say};
use kernel_support::memory::InUse;
use kernel_support::unharmed::same;
use kernel_support::walks::last_walk;

/// How long the step takes that others wait for.
const SLOW: Duration = Duration::from_millis(20);
/// How often all secondaries go.
const ROUNDS: usize = 20;

fn main() {
    let mut ktap = Ktap::new();
    ktap.check(
        "a first time, for memory that is kept",
        down(&others()) & up(),
    );
    let before = InUse::settled();
    let counters_say = (0..3).all(|_| {
        let (stops, graces) = counters();
        let gone = down(&others());
        let wanted = u64::from(!others().is_empty());
        let now = counters();
        gone & same("still points", now.0 - stops, wanted)
            & same("grace periods", now.1 - graces, wanted)
            & up()
    });
    ktap.check(
        "all others go with one still point and one grace period",
        counters_say,
    );
    ktap.check("some go and the others stay", some_go());
    ktap.check("a CPU that refuses stays, and the others go", one_refuses());
    ktap.check("the last one stays", one_stays());
    ktap.check("the trace says what is waited for", waits_have_names());
    ktap.check(
        "as much heap and as many stacks in use as before",
        before.is_back(),
    );
    ktap.check("threads and calls go on meanwhile", under_load());
    ktap.finish()
}

/// Returns all CPUs but the boot CPU.
fn others() -> CpuMask {
    secondaries().into_iter().collect()
}

/// Returns how many still points and how many grace periods there have been.
fn counters() -> (u64, u64) {
    let graces = kernel().grace_periods.stats().grace_periods;
    (kernel().stop_machine.stops(), graces)
}

fn down(cpus: &CpuMask) -> bool {
    let online = kernel().masks.online().without(cpus);
    same("down", hotplug::cpus_down(cpus), Ok(())) & masks_say(&online) & states_say(&online)
}

fn up() -> bool {
    let back = same("up", hotplug::cpus_up(kernel().masks.possible()), Ok(()));
    back & masks_say(kernel().masks.possible()) & states_say(kernel().masks.possible())
}

/// Every second CPU goes; then those and the others.
fn some_go() -> bool {
    let odd: CpuMask = secondaries()
        .into_iter()
        .filter(|cpu| cpu.index() % 2 == 1)
        .collect();
    down(&odd) & down(&odd) & down(&others()) & up()
}

fn one_refuses() -> bool {
    let victim = last_cpu();
    if victim == CpuId::BOOT {
        return true;
    }
    let refuse_fn = move |cpu: CpuId| {
        if cpu == victim {
            Err(Errno::Busy)
        } else {
            Ok(())
        }
    };
    let step = EnableStep::new("refuses").teardown(refuse_fn).install();
    let step = step.expect("a slot is free");
    let mut sound = match hotplug::cpus_down(&others()) {
        Ok(()) => false,
        Err(error) => {
            let refused = |error: &CpuDownError| {
                let refused = StepError::Refused(Errno::Busy);
                matches!(error, CpuDownError::Step { error, .. } if *error == refused)
            };
            error.cpus() == CpuMask::of(victim) && error.of(victim).is_some_and(refused)
        }
    };
    let online: CpuMask = [CpuId::BOOT, victim].into_iter().collect();
    sound &= masks_say(&online) & states_say(&online);
    sound & step.remove().is_ok() & down(&others()) & up()
}

/// The last CPU is slow: it says so, and the others say that they have waited for others. All have
/// waited for the grace period.
fn waits_have_names() -> bool {
    let slow = last_cpu();
    if secondaries().len() < 2 {
        return true;
    }
    let stop_fn = move |cpu: CpuId| {
        if cpu == slow {
            api::sleep(SLOW);
        }
        Ok(())
    };
    let step = EnableStep::new("slow").teardown(stop_fn).install();
    let since = Hw::now();
    let went = down(&others());
    let sound = others().iter().all(|cpu| {
        let walk = last_walk(cpu, since).filter(|walk| walk.whole);
        walk.is_some_and(|walk| says_so(&walk, cpu == slow))
    });
    went & sound & step.is_ok_and(|step| step.remove().is_ok()) & up()
}

fn says_so(walk: &RecordedWalk, is_slow: bool) -> bool {
    let time = |ticks| Duration::from_nanos(Hw::frequency().ticks_to_ns(ticks));
    let is_long = |ticks| time(ticks) >= SLOW;
    let waited = if is_slow {
        let steps = walk.parts.iter();
        let mut steps = steps.filter(|part| matches!(part.kind, PartKind::Step { .. }));
        steps.any(|part| is_long(part.ticks))
    } else {
        is_long(walk.for_others())
    };
    let mut parts = walk.parts.iter();
    same("CPU", (walk.cpu, waited), (walk.cpu, true))
        & parts.any(|part| part.kind == PartKind::Grace)
}

/// Of all CPUs one stays, with an error.
fn one_stays() -> bool {
    let gone = hotplug::cpus_down(kernel().masks.possible());
    let stay = gone.map_err(|error| error.cpus().count());
    same("one stays", stay, Err(1)) & up()
}

/// The CPUs go and come while threads run on them, move to the others, and call each other.
fn under_load() -> bool {
    let over = Arc::new(AtomicBool::new(false));
    let turns = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = (0..2 * kernel().masks.possible().count())
        .map(|number| {
            let (over, turns) = (Arc::clone(&over), Arc::clone(&turns));
            let body = move || {
                while !over.load(Ordering::Relaxed) {
                    let target = CpuId::from_index(number % kernel().masks.possible().count());
                    let _ = api::call_on_nowait(target, || ());
                    let _ = api::call_on(target, || ());
                    turns.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                }
            };
            Builder::new()
                .name("load")
                .spawn(body)
                .expect("a stack is free")
        })
        .collect();
    let sound = (0..ROUNDS).all(|_| {
        let before = turns.load(Ordering::Relaxed);
        let cycled = down(&others()) & up();
        while turns.load(Ordering::Relaxed) == before {
            thread::yield_now();
        }
        cycled
    });
    over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join();
    }
    sound
}
