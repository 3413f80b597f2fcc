//! Each CPU's own words, changed by a load and a store: in threads with preemption off,
//! and both in threads with interrupts masked and in handlers.

use alloc::sync::Arc;
use core::time::Duration;

use stillpoint::api::{PerCpuVar, thread};
use stillpoint::kernel::Hw;
use stillpoint::sync::atomic::{AtomicU64, Ordering};
use stillpoint::sync::{IrqGuard, PinnedCpu, PreemptGuard};

use crate::world::{Count, World, micros, one_in};
use kernel_support::machine::spin_for;
use kernel_support::xorshift::Random;

stillpoint::percpu! {
    /// Changed with preemption off.
    static QUIET: AtomicU64 = AtomicU64::new(0);
    /// Changed with interrupts masked.
    static MASKED: AtomicU64 = AtomicU64::new(0);
}

/// What was added to the words of all CPUs, and what they were before.
pub(crate) struct Words {
    before: (u64, u64),
    quiet: Count,
    masked: Count,
    /// Threads that are between a load and its store.
    inside: AtomicU64,
}

fn sum(words: &PerCpuVar<AtomicU64>) -> u64 {
    words
        .iter()
        .map(|(_, word)| word.load(Ordering::Relaxed))
        .sum()
}

/// Adds one to this CPU's word. What comes between the load and the store must be
/// nothing that adds too.
fn add(words: &PerCpuVar<AtomicU64>, here: &impl PinnedCpu<Hw>, between_fn: impl FnOnce()) {
    let word = words.this(here);
    let value = word.load(Ordering::Relaxed);
    between_fn();
    word.store(value + 1, Ordering::Relaxed);
}

/// Adds one, in an interrupt handler; `add_many` says later how often.
pub(crate) fn add_in_handler() {
    add(&MASKED, &IrqGuard::<Hw>::new(), || {});
}

/// `add_in_handler` was called so many times.
pub(crate) fn add_many(world: &World, times: u64) {
    world.words.masked.add(times);
}

impl Words {
    pub(crate) fn new() -> Words {
        Words {
            before: (sum(&QUIET), sum(&MASKED)),
            quiet: Count::default(),
            masked: Count::default(),
            inside: AtomicU64::new(0),
        }
    }

    /// Returns how many threads are in a section with preemption off: none in a still point.
    pub(crate) fn inside(&self) -> u64 {
        self.inside.load(Ordering::Relaxed)
    }

    pub(crate) fn add_up(&self) -> bool {
        let (quiet, masked) = self.before;
        sum(&QUIET) - quiet == self.quiet.get() && sum(&MASKED) - masked == self.masked.get()
    }
}

/// Adds to the words of whatever CPU it is on.
pub(crate) fn count(world: &Arc<World>, random: &mut Random) {
    let words = &world.words;
    for _ in 0..50 {
        let here = PreemptGuard::<Hw>::new();
        words.inside.fetch_add(1, Ordering::Relaxed);
        let slow = one_in(random, 10);
        add(&QUIET, &here, || {
            if slow {
                spin_for(Duration::from_micros(5));
            }
        });
        words.inside.fetch_sub(1, Ordering::Relaxed);
        drop(here);
        words.quiet.add(1);
        add(&MASKED, &IrqGuard::<Hw>::new(), || {});
        words.masked.add(1);
    }
    if one_in(random, 4) {
        thread::sleep(micros(random, 400));
    }
}
