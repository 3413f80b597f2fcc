use core::sync::atomic::{AtomicUsize, Ordering};

use stillpoint::api::rcu::{Callback, GraceStats};
use stillpoint::api::rcu::{barrier, read, stats, synchronize, synchronize_tasks};
use stillpoint::println;

/// The slot of a table that readers use. The others are free.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Reads a table, of two slots, that `refill` fills anew.
pub(crate) fn look<R>(slots: &[AtomicUsize; 2], read_fn: impl FnOnce(usize) -> R) -> R {
    read(|_guard| {
        let used = USED.load(Ordering::Acquire);
        read_fn(slots[used].load(Ordering::Relaxed))
    })
}

/// Fills the slot that isn't used, then has readers use it. When this returns, no reader is in the
/// other one: so it may be filled the next time.
pub(crate) fn refill(slots: &[AtomicUsize; 2], value: usize) {
    let free = 1 - USED.load(Ordering::Relaxed);
    slots[free].store(value, Ordering::Relaxed);
    USED.store(free, Ordering::Release); // Pairs with the Acquire in `look`.
    synchronize();
}

/// A cache that can be freed when no memory is left: what that takes is taken beforehand.
pub(crate) struct Reserve {
    free: Callback,
}

impl Reserve {
    pub(crate) fn new(free_fn: impl FnOnce() + Send + 'static) -> Reserve {
        let free = Callback::new(free_fn);
        Reserve { free }
    }

    /// Has the cache freed when no reader is in it; the caller has made it unreachable. Allocates
    /// nothing, and doesn't wait.
    pub(crate) fn release(self) {
        self.free.queue();
    }
}

/// Frees a library of which nothing is called any more. Threads may have been preempted in it, in no
/// section.
pub(crate) fn unload(free_fn: impl FnOnce()) {
    synchronize_tasks(); // Each thread has left it,
    barrier(); // and no callback that it has queued is still to come.
    free_fn();
    let GraceStats {
        grace_periods,
        asked,
        idle,
        queued,
        ran,
    } = stats();
    println!("{grace_periods} grace periods have interrupted {asked} CPUs, {idle} were idle");
    println!("{ran} of {queued} callbacks have run");
}
