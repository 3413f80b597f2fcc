//! Adds to words of each CPU by a load and a store. One word is changed only by threads, with
//! preemption off, the other also by handlers, with interrupts masked.

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
    /// The word that is changed with preemption off.
    static QUIET: AtomicU64 = AtomicU64::new(0);
    /// The word that is changed with interrupts masked.
    static MASKED: AtomicU64 = AtomicU64::new(0);
}

/// How much was added to the words of all CPUs, and their sums before.
pub(crate) struct Words {
    before: (u64, u64),
    quiet: Count,
    masked: Count,
    /// How many threads are in a section with preemption off.
    inside: AtomicU64,
}

fn sum(words: &PerCpuVar<AtomicU64>) -> u64 {
    words
        .iter()
        .map(|(_, word)| word.load(Ordering::Relaxed))
        .sum()
}

/// Adds 1 to this CPU's word. `between_fn` runs between the load and the store, and must not
/// let other code change the word.
fn add(words: &PerCpuVar<AtomicU64>, here: &impl PinnedCpu<Hw>, between_fn: impl FnOnce()) {
    let word = words.this(here);
    let value = word.load(Ordering::Relaxed);
    between_fn();
    word.store(value + 1, Ordering::Relaxed);
}

/// Adds 1 in an interrupt handler. The caller counts the calls, and passes the count to
/// `add_many`.
pub(crate) fn add_in_handler() {
    add(&MASKED, &IrqGuard::<Hw>::new(), || {});
}

/// Counts `times` calls of `add_in_handler`.
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

/// Adds to both words of the current CPU, many times.
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
