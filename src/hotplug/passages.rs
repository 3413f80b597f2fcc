//! How often a step was passed, up and down.

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::trace::Direction;

/// The passages of one step by one CPU. Relaxed: written by the owner of the walk, or by the
/// thread that it has a step passed for (`one-writer-of-state` of
/// [`hotplug`](crate::hotplug)), and read by any thread for display.
#[derive(Default)]
pub(super) struct Passages {
    up: AtomicU32,
    down: AtomicU32,
}

impl Passages {
    /// Returns how often the step was passed up, and how often down.
    pub(super) fn get(&self) -> (u32, u32) {
        (
            self.up.load(Ordering::Relaxed),
            self.down.load(Ordering::Relaxed),
        )
    }

    /// Counts one more passage.
    pub(super) fn count(&self, direction: Direction) {
        let counter = match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether the step is up.
    pub(super) fn is_up(&self) -> bool {
        let (up, down) = self.get();
        up != down
    }
}
