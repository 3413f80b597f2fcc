//! The state that all kinds of workers share: the end of the storm, its faults, and random
//! choices.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::kernel;
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::calls::Calls;
use crate::hotplug::Hotplug;
use crate::locks::Locks;
use crate::memory::Parcels;
use crate::reading::Reading;
use crate::threads::Threads;
use crate::timers::SharedTimers;
use crate::watchdog::Beat;
use crate::words::Words;
use kernel_support::xorshift::Random;

/// How many faults are printed at most: one mistake may show a million times.
const MOST_PRINTED: u64 = 20;

/// A counter. Relaxed: it is compared when the threads that add to it have ended.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, what: u64) {
        self.0.fetch_add(what, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// The state that the workers share.
pub(crate) struct World {
    over: AtomicBool,
    wrong: Count,
    pub(crate) beats: Arc<Vec<Beat>>,
    pub(crate) hotplug: Hotplug,
    pub(crate) threads: Threads,
    pub(crate) timers: Arc<SharedTimers>,
    pub(crate) calls: Calls,
    pub(crate) reading: Reading,
    pub(crate) words: Words,
    pub(crate) locks: Arc<Locks>,
    pub(crate) parcels: Parcels,
}

impl World {
    /// Returns a world with counters of 0, for workers with these beats.
    pub(crate) fn new(beats: Arc<Vec<Beat>>) -> World {
        let locks = Arc::new(Locks::new());
        let calls = Calls::new();
        World {
            over: AtomicBool::new(false),
            wrong: Count::default(),
            beats,
            hotplug: Hotplug::default(),
            threads: Threads::new(),
            timers: SharedTimers::new(&locks, &calls),
            calls,
            reading: Reading::new(),
            words: Words::new(),
            locks,
            parcels: Parcels::new(),
        }
    }

    pub(crate) fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Has every worker end its turn and stop.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.locks.end();
    }

    /// Checks a condition, and counts and prints a fault if it doesn't hold.
    pub(crate) fn must(&self, is_so: bool, what: fmt::Arguments<'_>) {
        if !is_so {
            self.wrong.add(1);
            if self.wrong.get() <= MOST_PRINTED {
                println!("# WRONG: {what}");
            }
        }
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.wrong.get() == 0
    }

    /// Returns whether each worker has had a turn, and each kind has done everything that it can.
    pub(crate) fn all_worked(&self) -> bool {
        let idle: Vec<_> = self.beats.iter().filter(|beat| beat.turns() == 0).collect();
        for beat in &idle {
            println!("# {} has had no turn", beat.name());
        }
        idle.is_empty()
            && self.hotplug.has_worked()
            && self.threads.has_worked()
            && self.timers.has_worked()
            && self.calls.has_worked()
            && self.reading.has_worked()
            && self.locks.has_worked()
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}", self.hotplug)?;
        writeln!(f, "# {}", self.threads)?;
        writeln!(f, "# {}", self.timers)?;
        writeln!(f, "# {}", self.calls)?;
        writeln!(f, "# {}", self.reading)?;
        write!(f, "# {}", self.locks)
    }
}

/// Returns the number of the machine's CPUs, including those that are off.
pub(crate) fn cpus() -> usize {
    kernel().masks.possible().count()
}

/// Returns CPU `number` of this machine.
pub(crate) fn cpu(number: usize) -> CpuId {
    CpuId::new(number).expect("a CPU of this machine")
}

/// Returns a random CPU of the machine, on or off.
pub(crate) fn any_cpu(random: &mut Random) -> CpuId {
    cpu(random.below(cpus()))
}

/// Returns random CPUs of the machine, on or off, at least one.
pub(crate) fn any_cpus(random: &mut Random) -> CpuMask {
    let mut some = CpuMask::of(any_cpu(random));
    for number in 0..cpus() {
        if one_in(random, 3) {
            some.insert(cpu(number));
        }
    }
    some
}

/// Returns true one time in `times`.
pub(crate) fn one_in(random: &mut Random, times: usize) -> bool {
    random.below(times) == 0
}

/// Returns a random time below `limit` microseconds.
pub(crate) fn micros(random: &mut Random, limit: usize) -> Duration {
    Duration::from_micros(random.below(limit) as u64)
}

/// Returns another sequence, seeded by `random`.
pub(crate) fn another(random: &mut Random) -> Random {
    Random::new(random.below(1 << 30) as u64)
}
