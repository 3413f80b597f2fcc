//! A watchdog over the workers. When a worker makes no turn for too long, the watchdog prints
//! where every CPU is, then all threads, and panics.
//!
//! It is a timer, so it works as long as one CPU takes interrupts. If no CPU does, the runner's
//! time limit passes, and the runner asks QEMU.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::kernel::{Hw, kernel, print_whereabouts};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sched::Timer;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The time between two checks.
const PERIOD: Duration = Duration::from_millis(500);

/// The progress of a worker. Relaxed: numbers that order nothing.
pub(crate) struct Beat {
    name: String,
    turns: AtomicU64,
    ended: AtomicBool,
    /// The number that the watchdog has seen last, and since when. Only the watchdog accesses it.
    seen: AtomicU64,
    since: AtomicU64,
}

impl Beat {
    pub(crate) fn new(name: String) -> Beat {
        Beat {
            name,
            turns: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            seen: AtomicU64::new(0),
            since: AtomicU64::new(Hw::now().0),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Counts a turn of the worker.
    pub(crate) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the worker makes no more turns.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Returns whether the worker has made no turn for more than `patience` ticks.
    fn is_stuck(&self, patience: u64) -> bool {
        let (turns, now) = (self.turns(), Hw::now().0);
        if self.seen.swap(turns, Ordering::Relaxed) != turns {
            self.since.store(now, Ordering::Relaxed);
        }
        // `since` may have been read on another CPU; the difference must not underflow.
        let still = now.saturating_sub(self.since.load(Ordering::Relaxed));
        !self.ended.load(Ordering::Relaxed) && still > patience
    }
}

/// Watches `beats` until the timer that it returns is dropped.
pub(crate) fn watch(beats: &Arc<Vec<Beat>>, patience: Duration, seed: u64) -> Timer<Hw> {
    let beats = Arc::clone(beats);
    let ticks = Hw::frequency().duration_to_ticks(patience);
    let timer = Timer::new(move || {
        if let Some(beat) = beats.iter().find(|beat| beat.is_stuck(ticks)) {
            bark(beat, patience, seed);
        }
    });
    timer.start_periodic(Hw::now(), PERIOD);
    timer
}

fn bark(beat: &Beat, patience: Duration, seed: u64) -> ! {
    println!(
        "# {} has made no turn for {patience:?} after {}, seed={seed}",
        beat.name,
        beat.turns()
    );
    print_whereabouts();
    let masks = &kernel().masks;
    println!("# online {} active {}", masks.online(), masks.active());
    kernel().sched.for_each_thread(|thread| {
        println!(
            "# {} on {:?}: {:?}, may run on {}",
            thread.name(),
            thread.cpu(),
            thread.state_racy(),
            thread.affinity()
        );
    });
    panic!("the storm hangs, seed={seed}");
}
