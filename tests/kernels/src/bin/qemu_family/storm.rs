//! All members of the family at once, from every CPU, beside cross calls and CPUs that go and
//! come. Every thread goes on, and each work that was accepted has run.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::cpu::call_on_nowait;
use stillpoint::api::hotplug::{CpuDownError, InitStep, cpu_down, cpu_up};
use stillpoint::api::stop::{
    CancelToken, NowaitError, Stop, StopError, StopMode, StopWork, stop_cpus, stop_machine,
    stop_machine_from_inactive_cpu, stop_one_cpu, stop_one_cpu_nowait, stop_two_cpus,
};
use stillpoint::api::thread::{Builder, JoinHandle, sleep};
use stillpoint::api::time::{self, Timer};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sync::AtomicBits;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use stillpoint::time::Instant;

use kernel_support::case::told;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, secondaries};
use kernel_support::xorshift::Random;

/// The members of the family, the two ways to give a stop up, and the other mode.
const MEMBERS: [&str; 9] = [
    "stop_machine",
    "Stop::before",
    "Stop::cancelled_by",
    "stop_one_cpu",
    "stop_two_cpus",
    "stop_cpus",
    "stop_one_cpu_nowait",
    "Stop::mode",
    "stop_machine_from_inactive_cpu",
];

/// A slow host needs time.
const LONG: Duration = Duration::from_secs(20);

/// What the threads of the storm share.
struct World {
    over: AtomicBool,
    /// Raised in a still point, and lowered there again: always the same outside.
    unmoved: AtomicU32,
    /// A work of each CPU without a waiting caller.
    works: Vec<StopWork>,
    /// How often these have run where they should.
    ran: Arc<AtomicU32>,
    /// How often each of [`MEMBERS`] has stopped what it should, or had its work accepted.
    done: [AtomicU32; MEMBERS.len()],
    /// How long a stop of all took lately, locks included, in ticks.
    took: AtomicU64,
}

impl World {
    fn new(cpus: usize) -> World {
        let ran = Arc::new(AtomicU32::new(0));
        let work = |number| {
            let (cpu, ran) = (CpuId::from_index(number), Arc::clone(&ran));
            StopWork::leak(move |on| {
                let right = on == cpu && is_on(cpu);
                ran.fetch_add(u32::from(right), Ordering::Relaxed);
            })
        };
        World {
            over: AtomicBool::new(false),
            unmoved: AtomicU32::new(0),
            works: (0..cpus).map(work).collect(),
            ran: Arc::clone(&ran),
            done: core::array::from_fn(|_| AtomicU32::new(0)),
            took: AtomicU64::new(0),
        }
    }

    fn count(&self, member: usize) {
        self.done[member].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether a stop of `member` has seen what it should, or has an error that it may have.
    fn is_good(
        &self,
        member: usize,
        stopped: Result<bool, StopError>,
        may_fail_fn: impl FnOnce(&StopError) -> bool,
    ) -> bool {
        match stopped {
            Ok(right) => {
                self.count(member);
                right
            }
            Err(error) => {
                let may = may_fail_fn(&error);
                if !may {
                    println!("# {}: {error}", MEMBERS[member]);
                }
                may
            }
        }
    }
}

pub(crate) fn check(ktap: &mut Ktap) {
    let seed = told("seed").unwrap_or(Hw::now().0);
    let cpus = kernel().masks.possible().count();
    let seconds = told("seconds").unwrap_or(if cpus < 4 { 2 } else { 10 });
    println!("# seed={seed} seconds={seconds}");
    let world = Arc::new(World::new(cpus));
    let theirs = Arc::clone(&world);
    let step = InitStep::new("storm")
        .startup(move |cpu| {
            let alone = stop_machine_from_inactive_cpu(|| touch(&theirs));
            assert!(alone, "CPU {cpu}, which comes, was not alone");
            theirs.count(8);
        })
        .stops_machine()
        .install_nocalls();
    let workers: Vec<_> = (0..cpus.max(2))
        .map(|nth| worker(&world, seed.wrapping_add(nth as u64), turn))
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
    let done = world
        .done
        .each_ref()
        .map(|done| done.load(Ordering::Relaxed));
    println!("# done {done:?}");
    let of_several = ["stop_two_cpus", "stop_machine_from_inactive_cpu"];
    let idle =
        |(member, done): (&&str, &u32)| *done == 0 && !(cpus == 1 && of_several.contains(member));
    let idle = MEMBERS.iter().zip(&done).find(|it| idle(*it));
    ktap.equal("each member has done something", idle, None);
    let ran = || world.ran.load(Ordering::Relaxed) == done[6];
    ktap.check(
        "each accepted work has run, on its CPU while that was online",
        eventually(ran),
    );
    kernel().hotplug.set_down_stop(StopMode::Classic);
    let back = secondaries().into_iter().all(|cpu| cpu_up(cpu).is_ok());
    let removed = step.is_ok_and(|step| step.remove().is_ok());
    ktap.check(
        "all CPUs are back",
        back && removed && stop_machine(|| 3) == Ok(3),
    );
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

/// Returns whether this is `cpu`, and it hasn't gone.
fn is_on(cpu: CpuId) -> bool {
    Hw::this_cpu() == cpu && kernel().masks.is_online(cpu)
}

/// Returns whether `error` says that one of `cpus` is not online which may go.
fn is_away(error: &StopError, cpus: &[CpuId]) -> bool {
    matches!(error, StopError::NotOnline(cpu) if *cpu != CpuId::BOOT && cpus.contains(cpu))
}

/// Returns an instant at which a stop that begins now may be over, or not.
fn about_its_end(world: &World, random: &mut Random) -> Instant {
    let most = 4 * world.took.load(Ordering::Relaxed).max(1);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    time::now().after_ticks(random.below(most) as u64)
}

fn turn(world: &Arc<World>, random: &mut Random) -> bool {
    let (one, other) = (some_cpu(random), some_cpu(random));
    let member = random.below(10);
    match member {
        0 => {
            let began = time::now();
            let stopped = stop_machine(|| touch(world));
            let took = time::now().ticks_since(began);
            world.took.store(took, Ordering::Relaxed);
            world.is_good(member, stopped, |_| false)
        }
        1 => {
            let at = about_its_end(world, random);
            let stopped = Stop::new().before(at).run(|| touch(world));
            world.is_good(member, stopped, |error| {
                matches!(error, StopError::Late(_) | StopError::Busy(_))
            })
        }
        2 => {
            let token = CancelToken::new();
            let theirs = token.clone();
            let timer = Timer::new(move || theirs.cancel());
            timer.start(about_its_end(world, random));
            let stop = Stop::new().cancelled_by(&token).on(one);
            let stopped = stop.run(|| touch(world) && is_on(one));
            world.is_good(member, stopped, |error| {
                matches!(error, StopError::Cancelled(_)) || is_away(error, &[one])
            })
        }
        3 => {
            let stopped = stop_one_cpu(one, || is_on(one));
            world.is_good(member, stopped, |error| is_away(error, &[one]))
        }
        4 if one != other => {
            let both = || is_on(one) && kernel().masks.is_online(other);
            let stopped = stop_two_cpus(one, other, both);
            world.is_good(member, stopped, |error| is_away(error, &[one, other]))
        }
        5 => {
            let asked: CpuMask = [one, other].into_iter().collect();
            let ran_on = AtomicBits::new();
            let told = stop_cpus(&asked, |on| {
                if is_on(on) {
                    ran_on.set(on.index(), Ordering::Relaxed);
                }
            });
            if !told.is_empty() {
                world.count(member);
            }
            CpuMask::from_bits(ran_on.snapshot(Ordering::Relaxed)) == told
        }
        6 => match stop_one_cpu_nowait(one, world.works[one.index()]) {
            Ok(()) => {
                world.count(member);
                true
            }
            // Another thread has queued it.
            Err(NowaitError::Busy) => true,
            Err(NowaitError::NotOnline(cpu)) => cpu == one && cpu != CpuId::BOOT,
        },
        7 => {
            let at = match random.below(2) {
                0 => about_its_end(world, random),
                _ => time::deadline(LONG),
            };
            let stop = Stop::new().mode(StopMode::FlushPreempted).before(at);
            let stopped = stop.run(|| touch(world));
            world.is_good(member, stopped, |error| {
                matches!(error, StopError::Late(_) | StopError::Busy(_))
            })
        }
        8 => {
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

fn move_cpus(_: &Arc<World>, random: &mut Random) -> bool {
    let others = secondaries();
    if others.is_empty() {
        stillpoint::api::thread::yield_now();
        return true;
    }
    let cpu = others[random.below(others.len())];
    let mode = match random.below(2) {
        0 => StopMode::Classic,
        _ => StopMode::FlushPreempted,
    };
    kernel().hotplug.set_down_stop(mode);
    let went = match random.below(2) {
        0 => match cpu_down(cpu) {
            // On a slow host a flush takes longer than its limit.
            Err(CpuDownError::Late { .. }) if mode == StopMode::FlushPreempted => Ok(()),
            went => went.map_err(|error| println!("# {error}")),
        },
        _ => cpu_up(cpu).map_err(|error| println!("# {error}")),
    };
    went.is_ok()
}
