//! Threads that each do the same again and again, beside others that take CPUs down and up, one or
//! several at a time, in each of the ways of `cpuhp.parallel=`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::hotplug::{cpu_down, cpu_up, cpus_down, cpus_up};
use stillpoint::api::thread::{self, JoinHandle};
use stillpoint::api::time;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::Parallel;
use stillpoint::kernel::kernel;
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, Ordering};

use crate::case::told;
use crate::machine::secondaries;
use crate::unharmed::same;
use crate::xorshift::Random;

/// How many threads move CPUs.
const MOVERS: u64 = 2;

/// A turn of a thread; returns whether all was right.
type TurnFn = fn(&mut Random) -> bool;

fn move_cpus(random: &mut Random) -> bool {
    let others = secondaries();
    if others.is_empty() {
        thread::yield_now();
        return true;
    }
    let cpu = others[random.below(others.len())];
    let is_one = |_: &CpuId| random.below(2) == 0;
    let some: CpuMask = others.into_iter().filter(is_one).collect();
    let how = Parallel::ALL[random.below(Parallel::ALL.len())];
    match random.below(4) {
        0 => same("down", cpu_down(cpu), Ok(())),
        1 => same("up", cpu_up(cpu), Ok(())),
        2 => same("down together", cpus_down(&some), Ok(())),
        _ => {
            kernel().hotplug.set_parallel(how);
            same("up together", cpus_up(&some), Ok(()))
        }
    }
}

/// Does `turn_fn` until the storm is over; returns how often, or `None` if a turn went wrong.
fn worker(seed: u64, over: &Arc<AtomicBool>, turn_fn: TurnFn) -> JoinHandle<Option<u32>> {
    let over = Arc::clone(over);
    thread::spawn(move || {
        let mut random = Random::new(seed);
        let mut turns = 0;
        while !over.load(Ordering::Relaxed) {
            if !turn_fn(&mut random) {
                println!("# turn {turns} of worker {seed} went wrong");
                return None;
            }
            turns += 1;
        }
        Some(turns)
    })
}

/// Has `registers` threads do `register_fn` while CPUs go and come, for `seconds` or what the
/// boot argument `seconds=` says. Returns whether all turns went right, and all CPUs are back.
pub fn storm_of_registrations(registers: u64, register_fn: TurnFn, seconds: u64) -> bool {
    let over = Arc::new(AtomicBool::new(false));
    let how = kernel().hotplug.parallel();
    let workers = |seeds: core::ops::Range<u64>, turn_fn: TurnFn| -> Vec<_> {
        seeds.map(|seed| worker(seed, &over, turn_fn)).collect()
    };
    let registers_end = 1 + registers;
    let registering = workers(1..registers_end, register_fn);
    let moving = workers(registers_end..registers_end + MOVERS, move_cpus);
    let storm = Duration::from_secs(told("seconds").unwrap_or(seconds));
    thread::sleep_until(time::now() + storm);
    over.store(true, Ordering::Relaxed);
    let sum = |workers: Vec<JoinHandle<Option<u32>>>| {
        let turns = workers.into_iter().map(JoinHandle::join);
        turns.sum::<Option<u32>>()
    };
    let (registered, moved) = (sum(registering), sum(moving));
    println!("# {registered:?} registrations, {moved:?} operations");
    kernel().hotplug.set_parallel(how);
    let back = secondaries().into_iter().all(|cpu| cpu_up(cpu).is_ok());
    back && registered.is_some() && moved.is_some()
}
