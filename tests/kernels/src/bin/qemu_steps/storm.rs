//! Threads that install and remove steps while others take CPUs down and up. At each instant
//! each step counts each CPU as here or not, and no call ever finds it the other way.

use alloc::sync::Arc;

use stillpoint::api::cpu::{CpuId, possible};
use stillpoint::api::hotplug::{EnableStep, MultiStepBuilder, PrepareStep, cpus_read_lock};
use stillpoint::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kernel_support::storm::storm_of_registrations;
use kernel_support::unharmed::same;
use kernel_support::xorshift::Random;

/// For how many seconds, unless the boot arguments have `seconds=`.
const STORM: u64 = 3;
const WORDS: usize = 8;

/// The CPUs that a step has been told of.
#[derive(Default)]
struct Seen {
    here: [AtomicU64; WORDS],
    /// Calls for a CPU that was here already, or wasn't.
    twice: AtomicUsize,
}

impl Seen {
    fn change(&self, cpu: CpuId, comes: bool) {
        let (word, bit) = (&self.here[cpu.index() / 64], 1 << (cpu.index() % 64));
        let before = match comes {
            true => word.fetch_or(bit, Ordering::Relaxed),
            false => word.fetch_and(!bit, Ordering::Relaxed),
        };
        if (before & bit != 0) == comes {
            self.twice.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn has(&self, cpu: CpuId) -> bool {
        let word = self.here[cpu.index() / 64].load(Ordering::Relaxed);
        word & 1 << (cpu.index() % 64) != 0
    }

    /// Returns whether the step was told of exactly the CPUs that are online.
    fn agrees(&self) -> bool {
        let cpus = cpus_read_lock();
        let online = cpus.online();
        possible()
            .iter()
            .all(|cpu| self.has(cpu) == online.contains(cpu))
    }

    /// Returns whether nothing is left, and nothing was called twice.
    fn is_over(&self) -> bool {
        possible().iter().all(|cpu| !self.has(cpu))
            && same("twice", self.twice.load(Ordering::Relaxed), 0)
    }
}

fn callback(seen: &Arc<Seen>, comes: bool) -> impl Fn(CpuId) + Send + Sync + 'static {
    let seen = Arc::clone(seen);
    move |cpu| seen.change(cpu, comes)
}

/// Installs a step, looks at it, removes it; returns whether all was right.
fn register(random: &mut Random) -> bool {
    let seen = Arc::new(Seen::default());
    let (start, stop) = (callback(&seen, true), callback(&seen, false));
    let start = move |cpu| {
        start(cpu);
        Ok(())
    };
    let right = match random.below(3) {
        0 => {
            let step = PrepareStep::new("storm").startup(start).teardown(stop);
            let step = step.install().expect("a slot is free");
            let agrees = seen.agrees();
            drop(step);
            agrees
        }
        1 => {
            let step = EnableStep::new("storm")
                .startup(start)
                .teardown(move |cpu| {
                    stop(cpu);
                    Ok(())
                });
            let step = step.install().expect("a slot is free");
            let agrees = seen.agrees();
            step.remove().is_ok() & agrees
        }
        _ => {
            let step = MultiStepBuilder::new("storm")
                .startup(|cpu, seen: &Arc<Seen>| {
                    seen.change(cpu, true);
                    Ok(())
                })
                .teardown(|cpu, seen: &Arc<Seen>| {
                    seen.change(cpu, false);
                    Ok(())
                })
                .install()
                .expect("a slot is free");
            let first = step.add(Arc::clone(&seen));
            let other = Arc::new(Seen::default());
            let second = step.add(Arc::clone(&other));
            let agrees = seen.agrees() & other.agrees();
            drop(first);
            let over = seen.is_over() & other.agrees();
            drop(step);
            agrees & over & second.is_ok() & other.is_over()
        }
    };
    right & seen.is_over()
}

pub(crate) fn storm() -> bool {
    storm_of_registrations(3, register, STORM)
}
