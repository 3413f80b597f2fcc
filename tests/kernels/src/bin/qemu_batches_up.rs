//! Several CPUs come up in one operation, in each of the ways of `cpuhp.parallel=`: all of them,
//! a failing step on one of them, one that doesn't arrive, a storm of batches both ways.

//@ smp: 1 2 4 8 20
//@ timeout: 240
//@ append: cpuhp.parallel=split

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::hotplug::{cpus_down, cpus_up};
use stillpoint::api::thread;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{CpuUpError, Hotplug, Parallel, StepError, UP_TO_ONLINE};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::trace::{Event, Gap};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{
    eventually, last_cpu, masks_say, secondaries, states_say, stay_on_boot_cpu,
};
use kernel_support::memory::InUse;
use kernel_support::unharmed::same;
use kernel_support::walks::last_walk;
use kernel_support::xorshift::Random;

/// How many batches each thread of the storm begins.
const TURNS: usize = 60;
/// How long a CPU may take to arrive where one is held. A CPU that is late only because its host
/// doesn't run it fails the test.
const ARRIVE: Duration = Duration::from_secs(2);

fn main() {
    let mut ktap = Ktap::new();
    let asked_for = hotplug().parallel();
    ktap.equal("the way is as asked for", asked_for, Parallel::Split);
    ktap.check("all have come at boot", is_so(&all()));
    ktap.check("a first time, for memory that is kept", goes_and_comes());
    let before = InUse::settled();
    for how in Parallel::ALL {
        let name = how.name();
        hotplug().set_parallel(how);
        let cycles = (0..3).all(|_| goes_and_comes());
        ktap.check(&format!("{name}: all go, and all come"), cycles);
        ktap.check(&format!("{name}: some come, then the others"), some_first());
        let named = waits_have_names(how);
        ktap.check(&format!("{name}: the trace says what is waited for"), named);
        let failed = (0..hotplug().steps().len()).all(one_fails);
        ktap.check(&format!("{name}: each step that may fail, on one"), failed);
        ktap.check(&format!("{name}: one doesn't arrive"), one_is_held());
        let is_back = before.is_back();
        let what = "as much heap and as many stacks in use as before";
        ktap.check(&format!("{name}: {what}"), is_back);
    }
    ktap.check("batches of several threads, both ways", storm());
    ktap.finish()
}

fn hotplug() -> &'static Hotplug<Hw> {
    &kernel().hotplug
}

fn all() -> CpuMask {
    *kernel().masks.possible()
}

/// Returns all CPUs but the boot CPU.
fn others() -> CpuMask {
    secondaries().into_iter().collect()
}

fn is_so(online: &CpuMask) -> bool {
    masks_say(online) && states_say(online)
}

fn down() -> bool {
    same("down", cpus_down(&others()), Ok(())) && is_so(&CpuMask::of(CpuId::BOOT))
}

fn up() -> bool {
    same("up", cpus_up(&all()), Ok(())) && is_so(&all())
}

fn goes_and_comes() -> bool {
    down() && up()
}

/// Every second CPU comes; then all, and one of them rests half way until then.
fn some_first() -> bool {
    let is_odd = |cpu: &CpuId| cpu.index() % 2 == 1;
    let odd: CpuMask = others().iter().filter(is_odd).collect();
    let online = odd.iter().chain([CpuId::BOOT]).collect();
    let came = down() && same("up", cpus_up(&odd), Ok(())) && is_so(&online);
    let resting = UP_TO_ONLINE;
    let rests = odd
        .iter()
        .last()
        .map(|cpu| hotplug().cpu_set_target(cpu, resting));
    came && rests.is_none_or(|moved| moved.is_ok()) && up()
}

/// Where CPUs come together, the trace of each says until when it has waited for the others, before
/// its thread walked.
fn waits_have_names(how: Parallel) -> bool {
    let went = down();
    let since = Hw::now();
    let came = up();
    let is_together = matches!(how, Parallel::On | Parallel::Late) && others().count() > 1;
    let named = others().iter().all(|cpu| {
        let records = kernel().trace.walks_of(cpu, since);
        let is_gap = |event| matches!(event, Event::Gap { was: Gap::Others, .. });
        let first = |event| {
            matches!(event, Event::StepBegin { step, .. } if usize::from(step) == UP_TO_ONLINE)
        };
        let mut pairs = records.windows(2);
        let waited = pairs.any(|pair| is_gap(pair[0].event) && first(pair[1].event));
        let whole = last_walk(cpu, since).is_some_and(|walk| walk.whole);
        same("CPU", (cpu, waited, whole), (cpu, is_together, true))
    });
    went && came && named
}

/// Has step `step` fail on the last CPU while all others come up, if it can.
fn one_fails(step: usize) -> bool {
    let victim = last_cpu();
    let row = &hotplug().steps()[step];
    if row.is_slot() || !row.startup.may_fail() || victim == CpuId::BOOT {
        return true;
    }
    let went = down();
    let injected = hotplug().inject_failure(victim, Some(step)).is_ok();
    let failed = cpus_up(&others()).map_err(|error| error.into_failed());
    let wanted = CpuUpError::Step {
        cpu: victim,
        step: hotplug().step_name(step),
        error: StepError::Injected,
    };
    let alone = same("failed", failed, Err(Vec::from([(victim, wanted)])));
    went && injected && alone && is_so(&all().without(&CpuMask::of(victim))) && up()
}

/// The last CPU is held at its entry until it has been given up. The next batch has it too.
fn one_is_held() -> bool {
    let victim = last_cpu();
    if victim == CpuId::BOOT {
        return true;
    }
    let went = down();
    hotplug().set_arrival_limit(ARRIVE);
    hotplug().hold_at_entry(victim, true);
    let failed = cpus_up(&others()).map_err(|error| error.into_failed());
    hotplug().hold_at_entry(victim, false);
    hotplug().set_arrival_limit(Hotplug::<Hw>::ARRIVE);
    let wanted = CpuUpError::Step {
        cpu: victim,
        step: "sync:alive".into(),
        error: StepError::NeverArrived,
    };
    let alone = same("failed", failed, Err(Vec::from([(victim, wanted)])));
    let others_came = is_so(&all().without(&CpuMask::of(victim)));
    went && alone && others_came && eventually(|| cpus_up(&others()).is_ok()) && is_so(&all())
}

/// Two threads begin batches of random CPUs, both ways, in each of the ways up. A third stops
/// the machine. All are on the boot CPU, which doesn't go.
fn storm() -> bool {
    stay_on_boot_cpu();
    let over = Arc::new(AtomicBool::new(false));
    let movers: Vec<_> = (1..=2).map(|seed| spawn(move || moves(seed))).collect();
    let its_end = Arc::clone(&over);
    let stops = spawn(move || {
        while !its_end.load(Ordering::Relaxed) {
            if stillpoint::api::stop_machine(|| ()).is_err() {
                return false;
            }
            stillpoint::api::sleep(Duration::from_micros(300));
        }
        true
    });
    let moved: Vec<bool> = movers.into_iter().map(thread::JoinHandle::join).collect();
    over.store(true, Ordering::Relaxed);
    let stopped = stops.join();
    moved == [true, true] && stopped && up()
}

fn spawn(body: impl FnOnce() -> bool + Send + 'static) -> thread::JoinHandle<bool> {
    let here = CpuMask::of(CpuId::BOOT);
    let spawned = thread::Builder::new().affinity(here).spawn(body);
    spawned.expect("a stack is free")
}

fn moves(seed: u64) -> bool {
    let mut random = Random::new(seed);
    (0..TURNS).all(|_| {
        let some: CpuMask = others().iter().filter(|_| random.below(3) > 0).collect();
        hotplug().set_parallel(Parallel::ALL[random.below(Parallel::ALL.len())]);
        match random.below(2) {
            0 => same("down", cpus_down(&some), Ok(())),
            _ => same("up", cpus_up(&some), Ok(())),
        }
    })
}
