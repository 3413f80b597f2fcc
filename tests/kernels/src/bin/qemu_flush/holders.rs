//! What holds a flush up, and what waits for its end.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api;
use stillpoint::api::stop::{FLUSH_LIMIT, HeldBy, HeldUp, NotCome, Stop, StopError, StopMode};
use stillpoint::api::sync::Mutex;
use stillpoint::api::thread::{self, JoinHandle};
use stillpoint::api::time;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::ThreadName;
use stillpoint::sched::Class;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use stillpoint::sync::{IrqGuard, LocalCpu};
use stillpoint::time::Instant;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu, spin_until};

use crate::flush::{LIMIT, flush, flush_within, too_early};
use crate::race::{spawn_kernel, urgent};

/// A limit that is to be over. What comes too late for it is held by a flag.
const SHORT: Duration = Duration::from_millis(50);

static CALLED: AtomicU32 = AtomicU32::new(0);

fn called() {
    CALLED.fetch_add(1, Ordering::Relaxed);
}

/// Flushes time and again while threads on all CPUs lock a mutex, sleep, yield and move.
pub(crate) fn storm(ktap: &mut Ktap, flushes: u32) {
    let end = Arc::new(AtomicBool::new(false));
    let shared = Arc::new(Mutex::new(0_u64));
    let count = 3 * kernel().masks.possible().count();
    let turns: Arc<Vec<AtomicU32>> = Arc::new((0..count).map(|_| AtomicU32::new(0)).collect());
    let workers: Vec<JoinHandle<()>> = (0..count)
        .map(|number| {
            let (end, shared) = (Arc::clone(&end), Arc::clone(&shared));
            let turns = Arc::clone(&turns);
            thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    *shared.lock() += 1;
                    let turn = turns[number].fetch_add(1, Ordering::Relaxed) as usize;
                    match (turn + number) % 4 {
                        0 => thread::yield_now(),
                        1 => thread::sleep(Duration::from_micros(20)),
                        2 => thread::no_flush(|| (0..50).for_each(|_| Hw::relax())),
                        _ => (0..200).for_each(|_| Hw::relax()),
                    }
                }
            })
        })
        .collect();
    let before = CALLED.load(Ordering::Relaxed);
    let mut held = None;
    for _ in 0..flushes {
        thread::yield_now();
        if let Err(holders) = flush(called) {
            held = Some(holders);
            break;
        }
    }
    let seen: Vec<u32> = turns
        .iter()
        .map(|turns| turns.load(Ordering::Relaxed))
        .collect();
    let goes_on = |number: usize| turns[number].load(Ordering::Relaxed) > seen[number];
    let all_go_on = eventually(|| (0..count).all(goes_on));
    end.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(JoinHandle::join);
    if let Some(holders) = &held {
        for holder in holders {
            stillpoint::println!("# held up by {holder}");
        }
    }
    let all = CALLED.load(Ordering::Relaxed) - before == flushes;
    let sum: u64 = turns
        .iter()
        .map(|it| u64::from(it.load(Ordering::Relaxed)))
        .sum();
    ktap.check(
        "flushes under a load come to their end",
        held.is_none() && all && too_early() == 0,
    );
    ktap.check(
        "and each thread of the load goes on",
        all_go_on && *shared.lock() == sum,
    );
}

/// Has a thread of the kernel compute on the last CPU until it is told to end, with IRQs masked
/// if `masks`, and a stop that flushes meanwhile, before `deadline`. Returns what held that up.
fn held_up(masks: bool, deadline: Instant) -> Result<(), StopError> {
    let end = Arc::new(AtomicBool::new(false));
    let runs = Arc::new(AtomicBool::new(false));
    let (told, says) = (Arc::clone(&end), Arc::clone(&runs));
    let holder = spawn_kernel("holder", urgent(), last_cpu(), move || {
        let masked = masks.then(IrqGuard::<Hw>::new);
        says.store(true, Ordering::Release);
        while !told.load(Ordering::Acquire) {
            Hw::relax();
        }
        drop(masked);
    });
    spin_until(|| runs.load(Ordering::Acquire));
    let stopped = Stop::new()
        .mode(StopMode::FlushPreempted)
        .before(deadline)
        .run(called);
    end.store(true, Ordering::Release);
    holder.wait_until_dead();
    stopped
}

fn late_by(by: HeldBy) -> Result<(), StopError> {
    let thread = Some(ThreadName::new(format_args!("holder")));
    let held_up = HeldUp { thread, by };
    let cpu = last_cpu();
    Err(StopError::Late(Vec::from([NotCome { cpu, held_up }])))
}

/// A thread that keeps its CPU is named, and the next flush is as good as any.
pub(crate) fn named(ktap: &mut Ktap) {
    if last_cpu() == CpuId::BOOT {
        return; // The caller would have no CPU.
    }
    let home = api::thread::current();
    let bound = home.set_affinity(&CpuMask::of(CpuId::BOOT));
    let before = CALLED.load(Ordering::Relaxed);
    let began = api::now();
    ktap.equal(
        "a thread of the kernel that computes is named",
        held_up(false, Instant::FOREVER),
        late_by(HeldBy::Unflushed),
    );
    ktap.check(
        "after a second if no deadline was given",
        began.elapsed() >= FLUSH_LIMIT,
    );
    ktap.equal(
        "so is one that masks interrupts",
        held_up(true, time::deadline(10 * SHORT)),
        late_by(HeldBy::IrqsOff),
    );
    let called_then = CALLED.load(Ordering::Relaxed) - before;
    let long = time::deadline(LIMIT);
    let stop = Stop::new().mode(StopMode::FlushPreempted).before(long);
    let again = stop.run(|| CALLED.load(Ordering::Relaxed));
    ktap.check(
        "its function has not run, and that of the next stop does",
        bound.is_ok() && called_then == 0 && again == Ok(before),
    );
}

/// A change of affinity that would move a marked thread waits for the end of the mode.
pub(crate) fn affinity_waits(ktap: &mut Ktap) {
    if last_cpu() == CpuId::BOOT {
        return;
    }
    let end = Arc::new(AtomicBool::new(false));
    let computes = |name, class, told: &Arc<AtomicBool>| {
        let told = Arc::clone(told);
        let runs = Arc::new(AtomicBool::new(false));
        let says = Arc::clone(&runs);
        let thread = spawn_kernel(name, class, last_cpu(), move || {
            says.store(true, Ordering::Release);
            while !told.load(Ordering::Acquire) {
                Hw::relax();
            }
        });
        let begun = eventually(|| runs.load(Ordering::Acquire));
        (thread, begun)
    };
    let (marked, first) = computes("marked", Class::Normal, &end);
    let (holder, second) = computes("holder", urgent(), &end);
    let is_marked = eventually(|| marked.is_marked_racy());
    let moved_in_the_mode = AtomicBool::new(false);
    let began = api::now();
    let result = flush_within(SHORT, called, || {
        // The caller is the only one that runs here, until it sleeps.
        let set = kernel()
            .sched
            .set_affinity(&marked, &CpuMask::of(CpuId::BOOT));
        let early = began.elapsed() < SHORT;
        moved_in_the_mode.store(set.is_err() || early, Ordering::Relaxed);
    });
    let moved = marked.affinity() == CpuMask::of(CpuId::BOOT);
    end.store(true, Ordering::Release);
    holder.wait_until_dead();
    marked.wait_until_dead();
    ktap.check(
        "a change of affinity waits for the end of the mode",
        first
            && second
            && is_marked
            && result.is_err()
            && moved
            && !moved_in_the_mode.load(Ordering::Relaxed),
    );
}
