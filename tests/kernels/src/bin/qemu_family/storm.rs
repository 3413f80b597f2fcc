//! All members of the family at once, from every CPU, beside cross calls and CPUs that go and
//! come. Every thread goes on, and each work that was accepted has run.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::cpu::call_on_nowait;
use stillpoint::api::hotplug::{cpu_down, cpu_up};
use stillpoint::api::stop::{
    CancelToken, NowaitError, Stop, StopError, StopWork, stop_cpus, stop_machine, stop_one_cpu,
    stop_one_cpu_nowait, stop_two_cpus,
};
use stillpoint::api::thread::{Builder, JoinHandle, sleep};
use stillpoint::api::time::{self, Timer};
use stillpoint::cpu::CpuId;
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kernel_support::case::told;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, secondaries};
use kernel_support::xorshift::Random;

/// What the threads of the storm share.
struct World {
    over: AtomicBool,
    /// Raised in a still point, and lowered there again: always the same outside.
    unmoved: AtomicU32,
    /// Works without a waiting caller that were accepted, and that have run.
    accepted: AtomicU32,
    ran: AtomicU32,
}

pub(crate) fn check(ktap: &mut Ktap) {
    let seed = told("seed").unwrap_or(Hw::now().0);
    let cpus = kernel().masks.possible().count() as u64;
    let seconds = told("seconds").unwrap_or(if cpus < 4 { 2 } else { 10 });
    println!("# seed={seed} seconds={seconds}");
    let world = Arc::new(World {
        over: AtomicBool::new(false),
        unmoved: AtomicU32::new(0),
        accepted: AtomicU32::new(0),
        ran: AtomicU32::new(0),
    });
    let workers: Vec<_> = (0..cpus.max(2))
        .map(|nth| worker(&world, seed.wrapping_add(nth), turn))
        .collect();
    let mover = worker(&world, !seed, move_cpus);
    sleep(Duration::from_secs(seconds));
    world.over.store(true, Ordering::Relaxed);
    let turns: Vec<_> = workers.into_iter().map(JoinHandle::join).collect();
    let moves = mover.join();
    println!("# turns {turns:?}, moves {moves:?}");
    let all_went_on = turns
        .iter()
        .all(|turns| turns.is_some_and(|turns| turns > 0));
    ktap.check("every thread goes on and sees what it should", all_went_on);
    ktap.check("CPUs go and come", moves.is_some());
    let ran = || world.ran.load(Ordering::Relaxed) == world.accepted.load(Ordering::Relaxed);
    ktap.check("each accepted work has run", eventually(ran));
    let back = secondaries().into_iter().all(|cpu| cpu_up(cpu).is_ok());
    ktap.check("all CPUs are back", back && stop_machine(|| 3) == Ok(3));
}

type TurnFn = fn(&Arc<World>, &mut Random) -> bool;

fn worker(world: &Arc<World>, seed: u64, turn_fn: TurnFn) -> JoinHandle<Option<u32>> {
    let world = Arc::clone(world);
    let spawned = Builder::new().name("storm").spawn(move || {
        let mut random = Random::new(seed);
        let mut turns = 0;
        while !world.over.load(Ordering::Relaxed) {
            if !turn_fn(&world, &mut random) {
                println!("# turn {turns} of seed {seed} went wrong");
                return None;
            }
            turns += 1;
        }
        Some(turns)
    });
    spawned.expect("a thread more")
}

fn some_cpu(random: &mut Random) -> CpuId {
    CpuId::from_index(random.below(kernel().masks.possible().count()))
}

/// In a still point: what no other CPU may see in the middle.
fn touch(world: &World) -> bool {
    let alone = world.unmoved.fetch_add(1, Ordering::Relaxed) == 0;
    world.unmoved.fetch_sub(1, Ordering::Relaxed);
    alone
}

/// Returns whether a stop did what it should. It may have been late, or its CPU away.
fn good(stopped: Result<bool, StopError>) -> bool {
    stopped.unwrap_or(true)
}

fn turn(world: &Arc<World>, random: &mut Random) -> bool {
    let (one, other) = (some_cpu(random), some_cpu(random));
    match random.below(9) {
        0 => stop_machine(|| touch(world)) == Ok(true),
        1 => {
            let at = time::now().after_ticks(random.below(20_000) as u64);
            good(Stop::new().before(at).run(|| touch(world)))
        }
        2 => {
            let token = CancelToken::new();
            let theirs = token.clone();
            let timer = Timer::new(move || theirs.cancel());
            timer.start(time::now().after_ticks(random.below(20_000) as u64));
            let stopped = Stop::new().cancelled_by(&token).on(one);
            good(stopped.run(|| touch(world)))
        }
        3 => good(stop_one_cpu(one, || Hw::this_cpu() == one)),
        4 if one != other => good(stop_two_cpus(one, other, || Hw::this_cpu() == one)),
        5 => {
            let ran = AtomicU32::new(0);
            let asked = [one, other].into_iter().collect();
            let ran_on = stop_cpus(&asked, |_| {
                ran.fetch_add(1, Ordering::Relaxed);
            });
            ran.load(Ordering::Relaxed) as usize == ran_on.count()
        }
        6 if random.below(50) == 0 => nowait(world, one),
        7 => {
            // An SGI beside the stops; the CPU may be away.
            let _sent = call_on_nowait(one, || ());
            true
        }
        _ => {
            stillpoint::api::thread::yield_now();
            world.unmoved.load(Ordering::Relaxed) == 0
        }
    }
}

/// Queues a work of its own. It is never freed, so there are few.
fn nowait(world: &Arc<World>, cpu: CpuId) -> bool {
    let theirs = Arc::clone(world);
    let work = StopWork::leak(move |_| {
        theirs.ran.fetch_add(1, Ordering::Relaxed);
    });
    match stop_one_cpu_nowait(cpu, work) {
        Ok(()) => world.accepted.fetch_add(1, Ordering::Relaxed) < u32::MAX,
        Err(NowaitError::NotOnline(_)) => true,
        Err(NowaitError::Busy) => false,
    }
}

fn move_cpus(_: &Arc<World>, random: &mut Random) -> bool {
    let others = secondaries();
    if others.is_empty() {
        stillpoint::api::thread::yield_now();
        return true;
    }
    let cpu = others[random.below(others.len())];
    let went = match random.below(2) {
        0 => cpu_down(cpu).map_err(|error| println!("# {error}")),
        _ => cpu_up(cpu).map_err(|error| println!("# {error}")),
    };
    went.is_ok()
}
