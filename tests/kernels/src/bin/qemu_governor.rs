//! CPUs follow the load: they come when threads wait for one, and go when there is nothing to do.

//@ smp: 2 4
//@ icount: 1

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../../../examples/api/governor.rs"]
mod example;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::governor::{self, Governor, GovernorError, Tunables, TunablesError};
use stillpoint::api::hotplug::{EnableStep, cpu_down, cpu_up};
use stillpoint::api::{self, Errno, JoinHandle, thread, time};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::time::Instant;
use stillpoint::trace::{GovernorEvent, Reason};

use kernel_support::ktap::Ktap;

fn main() {
    let mut ktap = Ktap::new();
    ktap.check("without a governor a burst changes nothing", unmoved());
    ktap.check("ondemand: an idle machine keeps one CPU", idle());
    ktap.check("a burst has all CPUs, and they go", bursts());
    ktap.check("at rest nothing is measured", rests());
    ktap.check("a CPU that was taken down by hand stays down", by_hand());
    ktap.check("steady loads change next to nothing", steady());
    ktap.check(
        "a CPU that may not go is asked seldom, and others go",
        bound(),
    );
    ktap.check("a step that refuses has it back off", vetoed());
    ktap.check("disabled hotplug and a freeze are waited for", disabled());
    ktap.check("governors change under load", switched());
    ktap.check("userspace: as many as are asked for", userspace());
    ktap.check("performance: all come", performance());
    ktap.check("bad settings are refused, and change nothing", refused());
    ktap.check("the example does what it says", example_works());
    ktap.finish()
}

fn example_works() -> bool {
    let mut with_all = 0;
    let followed = example::follow_the_load(1).is_ok() && eventually(|| online() == 1);
    let urgent = example::with_all(|| with_all = online()).is_ok() && with_all == 1;
    let frugal = example::frugal().map(governor::set_tunables) == Ok(Ok(()));
    let all_then = example::with_all(|| with_all = online()).is_ok() && with_all == all();
    let again = eventually(|| online() == 1) && example::report().is_ok();
    example::keep(2);
    let kept = online() == 2 && governor::governor() == Ok(Governor::Userspace);
    followed && urgent && frugal && all_then && again && kept
}

fn all() -> usize {
    kernel().masks.possible().count()
}

fn online() -> usize {
    kernel().masks.active().count()
}

/// Threads that compute, each until it is told to end. They give other virtual CPUs the host's CPU
/// as they go.
struct Burst {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    began: Instant,
}

impl Burst {
    fn of(threads: usize) -> Burst {
        let end = Arc::new(AtomicBool::new(false));
        let began = time::now();
        let spawn = |_| {
            let end = Arc::clone(&end);
            thread::spawn(move || {
                let mut nth = 0_u32;
                while !end.load(Ordering::Relaxed) {
                    nth = nth.wrapping_add(1);
                    if nth.is_multiple_of(10_000) {
                        Hw::relax();
                    }
                }
            })
        };
        let threads = (0..threads).map(spawn).collect();
        Burst {
            end,
            threads,
            began,
        }
    }

    /// Ends it; returns when.
    fn end(self) -> Instant {
        self.end.store(true, Ordering::Relaxed);
        let ended = time::now();
        self.threads.into_iter().for_each(JoinHandle::join);
        ended
    }
}

/// Waits until `is_fn` returns true, asleep: a thread that waits busily is load. Returns whether it
/// did within a second.
fn eventually(is_fn: impl Fn() -> bool) -> bool {
    let limit = time::deadline(ms(1000));
    while !is_fn() {
        if time::now() >= limit {
            return false;
        }
        thread::sleep(Duration::from_micros(200));
    }
    true
}

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn ticks(time: Duration) -> u64 {
    time::frequency().duration_to_ticks(time)
}

fn unmoved() -> bool {
    let burst = Burst::of(2 * all());
    thread::sleep(ms(10));
    let same = online() == all();
    burst.end();
    thread::sleep(ms(20));
    same && online() == all() && governor::governor() == Ok(Governor::Userspace)
}

fn idle() -> bool {
    governor::set_governor(Governor::Ondemand).is_ok() && eventually(|| online() == 1)
}

/// When the governor had decided, for `reason`, that the number of CPUs becomes `to`, since `since`.
fn decided(since: Instant, reason: Reason, to: usize) -> Option<Instant> {
    let (records, _) = kernel().trace.governor();
    let is_it = |event: &GovernorEvent| matches!(event, GovernorEvent::Decided { reason: why, to: count, .. } if *why == reason && usize::from(*count) == to);
    let found = records
        .iter()
        .find(|record| record.at >= since && is_it(&record.event));
    found.map(|record| record.at)
}

fn bursts() -> bool {
    (0..3).all(|_| {
        thread::sleep(ms(200));
        let burst = Burst::of(all() + 1);
        let began = burst.began;
        let came = eventually(|| online() == all());
        let ended = burst.end();
        let went = eventually(|| online() == 1);
        let up = decided(began, Reason::Waiting, all()).map(|at| at.ticks_since(began));
        let down = decided(ended, Reason::Idle, 1).map(|at| at.ticks_since(ended));
        let up_good = up.is_some_and(|up| up < ticks(ms(2)));
        let down_good = down.is_some_and(|down| down < ticks(ms(8)));
        let good = came && went && up_good && down_good;
        if !good {
            stillpoint::println!("# came {came} after {up:?}, went {went} after {down:?}");
        }
        good
    })
}

fn looks() -> u64 {
    governor::statistics().map_or(0, |statistics| statistics.looks)
}

fn rests() -> bool {
    thread::sleep(ms(50));
    let before = looks();
    thread::sleep(ms(500));
    looks() == before
}

fn by_hand() -> bool {
    let last = CpuId::from_index(all() - 1);
    let taken = cpu_up(last).is_ok() && cpu_down(last).is_ok();
    let burst = Burst::of(2 * all());
    let others = eventually(|| online() == all() - 1);
    thread::sleep(ms(50));
    let stays = online() == all() - 1 && !governor::given_back().contains(last);
    let back = cpu_up(last).is_ok() && online() == all();
    burst.end();
    let gone = eventually(|| online() == 1);
    taken && others && stays && back && gone && governor::given_back().contains(last)
}

/// How often CPUs have come or gone.
fn changes() -> u64 {
    governor::statistics().map_or(0, |done| done.ups + done.downs)
}

fn steady() -> bool {
    (1..=all()).all(|threads| {
        thread::sleep(ms(150));
        let before = changes();
        let burst = Burst::of(threads);
        thread::sleep(ms(30));
        let settled = changes();
        thread::sleep(ms(150));
        let few = settled - before <= 2 && changes() == settled;
        let enough = online() >= threads;
        burst.end();
        let gone = eventually(|| online() == 1);
        if !(few && enough && gone) {
            stillpoint::println!("# {threads} threads: {before} {settled} {}", changes());
        }
        few && enough && gone
    })
}

/// A thread that is bound to the last CPU keeps that.
fn bound() -> bool {
    let last = CpuId::from_index(all() - 1);
    let up = cpu_up(last).is_ok();
    let end = Arc::new(AtomicBool::new(false));
    let its = Arc::clone(&end);
    let spawned = thread::spawn_on(last, "bound", move || {
        while !its.load(Ordering::Relaxed) {
            thread::sleep(ms(1));
        }
    });
    let Ok(thread) = spawned else {
        stillpoint::println!("# it went before a thread was bound to it");
        return false;
    };
    let refused = || governor::statistics().map_or(0, |done| done.refused);
    let before = refused();
    thread::sleep(ms(500));
    // The boot CPU goes in its place.
    let alone = kernel().masks.active() == CpuMask::of(last);
    let (asked, stays) = (refused() - before, alone);
    end.store(true, Ordering::Relaxed);
    thread.join();
    let goes = eventually(|| online() == 1);
    if !((1..=7).contains(&asked) && stays && goes) {
        stillpoint::println!("# asked {asked} times, stays {stays}, goes {goes}");
    }
    up && (1..=7).contains(&asked) && stays && goes
}

/// A program's step doesn't let the CPUs come.
fn vetoed() -> bool {
    let veto = Arc::new(AtomicBool::new(false));
    let its = Arc::clone(&veto);
    let step = EnableStep::new("veto").startup(move |_| {
        if its.load(Ordering::Relaxed) {
            Err(Errno::Busy)
        } else {
            Ok(())
        }
    });
    let Ok(step) = step.install() else {
        return false;
    };
    veto.store(true, Ordering::Relaxed);
    let refused = || governor::statistics().map_or(0, |done| done.refused);
    let before = refused();
    let burst = Burst::of(all() + 1);
    thread::sleep(ms(200));
    let (asked, stays) = (refused() - before, online() == 1);
    veto.store(false, Ordering::Relaxed);
    let come = eventually(|| online() == all());
    burst.end();
    let gone = eventually(|| online() == 1);
    let most = 6 * (all() as u64 - 1);
    let sound = (1..=most).contains(&asked) && stays && come && gone;
    if !sound {
        stillpoint::println!("# asked {asked} times, stays {stays}, come {come}, gone {gone}");
    }
    sound && step.remove().is_ok()
}

fn disabled() -> bool {
    let held = api::hotplug::disable();
    let burst = Burst::of(all() + 1);
    thread::sleep(ms(30));
    let stays = online() == 1;
    drop(held);
    let come = eventually(|| online() == all());
    let frozen = api::hotplug::freeze(CpuId::BOOT);
    thread::sleep(ms(30));
    let alone = online() == 1;
    let thawed = frozen.is_ok_and(|mut frozen| frozen.thaw().is_ok());
    let back = eventually(|| online() == all());
    burst.end();
    let gone = eventually(|| online() == 1);
    let sound = stays && come && alone && thawed && back && gone;
    if !sound {
        stillpoint::println!("# {stays} {come} {alone} {thawed} {back} {gone}");
    }
    sound
}

fn switched() -> bool {
    let burst = Burst::of(all() + 1);
    let sound = (0..4).all(|_| {
        let few = governor::set_governor(Governor::Userspace).is_ok()
            && governor::set_cpus(1).is_ok()
            && online() == 1;
        let most =
            governor::set_governor(Governor::Ondemand).is_ok() && eventually(|| online() == all());
        let most = most && governor::set_governor(Governor::Performance).is_ok();
        few && most && online() == all()
    });
    let back = governor::set_governor(Governor::Ondemand).is_ok();
    burst.end();
    sound && back && eventually(|| online() == 1)
}

fn userspace() -> bool {
    let set = governor::set_governor(Governor::Userspace).is_ok();
    let each = (1..=all())
        .rev()
        .chain(1..=all())
        .all(|count| governor::set_cpus(count) == Ok(()) && online() == count);
    let last = CpuId::from_index(all() - 1);
    let taken = cpu_down(last).is_ok();
    let wanted = all();
    let short = Err(GovernorError::Short {
        wanted,
        online: wanted - 1,
    });
    let respected = governor::set_cpus(wanted) == short;
    let back = cpu_up(last).is_ok();
    set && each && taken && respected && back
}

fn performance() -> bool {
    let few = governor::set_cpus(1).is_ok() && online() == 1;
    let set = governor::set_governor(Governor::Performance).is_ok();
    let refused = governor::set_cpus(1) == Err(GovernorError::NotUserspace(Governor::Performance));
    few && set && online() == all() && refused
}

fn refused() -> bool {
    let before = governor::tunables().expect("this thread may wait");
    let floor = Tunables {
        min_cpus: 0,
        ..before
    };
    let same = |tunables, error| {
        governor::set_tunables(tunables) == Err(GovernorError::Tunables(error))
            && governor::tunables() == Ok(before)
    };
    let held = api::hotplug::cpus_read_lock();
    let deadlock = governor::set_governor(Governor::Ondemand).is_err();
    drop(held);
    same(floor, TunablesError::Floor)
        && deadlock
        && governor::governor() == Ok(Governor::Performance)
}
