//! In virtual time: what an urgent thread sees of a CPU that goes, and how long a realtime
//! thread that computes can hold up the walk.

//@ smp: 2 4 20
//@ icount: 1
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api;
use stillpoint::api::thread::{self, Builder};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sched::lock::Completion;
use stillpoint::sched::{Class, Priority, Service};
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, register, secondaries};

/// How long the thread of realtime priority 10 keeps CPU 0.
const COMPUTES: Duration = Duration::from_millis(10);
/// How late a sleeper may be, and how long a walk may take.
const SOON: Duration = Duration::from_millis(1);

/// Set while the thread that computes waits for a CPU's services to park.
static AWAITED: AtomicBool = AtomicBool::new(false);
/// Completed by the services' parking.
static PARKING: Completion<Hw> = Completion::new();

/// Tells when a CPU is on its way down, and control waits for it.
struct Tells;

impl Service<Hw> for Tells {
    fn should_run(&self, _: CpuId) -> bool {
        false
    }

    fn run(&self, _: CpuId) {}

    fn park(&self, _: CpuId) {
        if AWAITED.swap(false, Ordering::Relaxed) {
            PARKING.complete();
        }
    }
}

fn main() {
    let mut ktap = Ktap::new();
    register("tells", Tells);
    let bound = thread::current().set_affinity(&CpuMask::of(CpuId::BOOT));
    ktap.check("main controls from CPU 0", bound.is_ok());
    let cpus = secondaries();
    let cpus: Vec<CpuId> = cpus
        .iter()
        .copied()
        .step_by(cpus.len().div_ceil(3))
        .collect();
    let late = cpus.iter().filter_map(|cpu| lateness(*cpu)).max();
    println!("# realtime sleeper late by {late:?} at most");
    ktap.check(
        "a realtime sleeper of a CPU that goes wakes in time while another one computes",
        late.is_some_and(|late| late <= SOON),
    );
    let down = cpus.iter().map(|cpu| goes(*cpu)).max();
    let up = cpus.iter().map(|cpu| comes(*cpu)).max();
    println!("# control's half takes {down:?} down and {up:?} up at most");
    for (name, took) in [
        ("a CPU goes while a realtime thread computes", down),
        ("a CPU comes while a realtime thread computes", up),
    ] {
        ktap.check(name, took.is_some_and(|took| took <= SOON));
    }
    ktap.finish()
}

fn fifo(priority: u8) -> Class {
    Class::fifo(Priority::new(priority).expect("1 to 99"))
}

/// Takes `cpu` down and brings it up again, while a thread of priority 99 sleeps on it a
/// millisecond at a time, and one of priority 10 computes on CPU 0 from when `cpu` is
/// offline. Returns how late the sleeper was woken at worst, or `None` if a call failed.
fn lateness(cpu: CpuId) -> Option<Duration> {
    let ends = Arc::new(AtomicBool::new(false));
    let worst = Arc::new(AtomicU64::new(0));
    let sleeper = {
        let (ends, worst) = (Arc::clone(&ends), Arc::clone(&worst));
        let either = CpuMask::of(cpu).or(&CpuMask::of(CpuId::BOOT));
        Builder::new()
            .name("urgent")
            .class(fifo(99))
            .affinity(CpuMask::of(cpu))
            .spawn(move || {
                let free = thread::current().set_affinity(&either).is_ok();
                while !ends.load(Ordering::Relaxed) {
                    let at = after(Duration::from_millis(1));
                    thread::sleep_until(at);
                    worst.fetch_max(Hw::now().ticks_since(at), Ordering::Relaxed);
                }
                free
            })
            .ok()?
    };
    thread::sleep(Duration::from_millis(5));
    let hog = Builder::new()
        .class(fifo(10))
        .affinity(CpuMask::of(CpuId::BOOT))
        .spawn(move || {
            // The rest of the walk takes some ten microseconds.
            while kernel().masks.is_online(cpu) {
                thread::sleep(Duration::from_micros(2));
            }
            compute(|| ());
        })
        .ok()?;
    let down = api::cpu_down(cpu);
    hog.join();
    let up = api::cpu_up(cpu);
    ends.store(true, Ordering::Relaxed);
    let free = sleeper.join();
    (free && down.is_ok() && up.is_ok()).then(|| time(worst.load(Ordering::Relaxed)))
}

/// Takes `cpu` down. Returns how long that took from when its services parked and the
/// thread of priority 10 began to compute: [`COMPUTES`] or more if it waited for that.
fn goes(cpu: CpuId) -> Duration {
    PARKING.reset();
    AWAITED.store(true, Ordering::Relaxed);
    walk_beside(
        || api::cpu_down(cpu).is_ok(),
        || PARKING.wait(),
        move || kernel().hotplug.state(cpu).state() == 0,
    )
}

/// Brings `cpu` up. Returns how long it took until it was online, from when it may say
/// ALIVE and the thread of priority 10 began to compute.
fn comes(cpu: CpuId) -> Duration {
    let hotplug = &kernel().hotplug;
    hotplug.hold_at_entry(cpu, true);
    walk_beside(
        || api::cpu_up(cpu).is_ok(),
        move || {
            // Until control sleeps in `sync:alive`: it spins for a moment before that.
            thread::sleep(Duration::from_millis(5));
            hotplug.hold_at_entry(cpu, false);
        },
        move || kernel().masks.is_online(cpu),
    )
}

/// Calls `walk_fn` beside a thread of priority 10 on CPU 0, which computes from when
/// `begin_fn` has returned. Returns how long after that `ended_fn` was true.
fn walk_beside(
    walk_fn: impl FnOnce() -> bool,
    begin_fn: impl FnOnce() + Send + 'static,
    ended_fn: impl Fn() -> bool + Send + 'static,
) -> Duration {
    let hog = Builder::new()
        .class(fifo(10))
        .affinity(CpuMask::of(CpuId::BOOT))
        .spawn(move || {
            begin_fn();
            let began = Hw::now();
            let mut ended = None;
            compute(|| {
                if ended.is_some() {
                    return;
                }
                if ended_fn() {
                    ended = Some(Hw::now());
                }
                // QEMU's one host thread runs this CPU alone else, until a timer is due.
                Hw::relax();
            });
            time(ended.unwrap_or_else(Hw::now).ticks_since(began))
        })
        .expect("a stack is free");
    let walked = walk_fn();
    let took = hog.join();
    if walked { took } else { Duration::MAX }
}

fn time(ticks: u64) -> Duration {
    Duration::from_nanos(Hw::frequency().ticks_to_ns(ticks))
}

/// Computes for [`COMPUTES`] and calls `look_fn` again and again meanwhile.
fn compute(mut look_fn: impl FnMut()) {
    let until = after(COMPUTES);
    while Hw::now() < until {
        look_fn();
    }
}
