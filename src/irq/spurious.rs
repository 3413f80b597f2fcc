//! Whether a line comes too often without a reason, as Linux counts it.
//!
//! A device that never lets go of its line would have its CPU do nothing else. So a line is given
//! up of whose last 100,000 interrupts 99,900 had no handler that was served by them.
//!
//! # Sources
//! Linux `kernel/irq/spurious.c`, `note_interrupt`.

#![forbid(unsafe_code)]

use super::handlers::IrqReturn;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::const_unless_loom;
use crate::time::Instant;

/// After how many interrupts the line is judged.
const JUDGED: u32 = 100_000;

/// How many of them are too many without a reason.
const TOO_MANY: u32 = 99_900;

/// The counts of one line. Relaxed: only the CPU that runs the handlers writes them (`one-runs` of
/// [`irq`](crate::irq)), and the word of the line orders one such CPU after the other. Others read
/// them for display.
#[derive(Debug)]
pub struct Spurious {
    /// Interrupts since the line was last judged.
    seen: AtomicU32,
    /// Those of them that had no reason, less those that came long after the one before.
    unhandled: AtomicU32,
    /// When the last one came that had no reason, in ticks.
    last_unhandled: AtomicU64,
}

impl Spurious {
    const_unless_loom! {
        /// Returns counts of 0.
        pub const fn new() -> Spurious {
            Spurious {
                seen: AtomicU32::new(0),
                unhandled: AtomicU32::new(0),
                last_unhandled: AtomicU64::new(0),
            }
        }
    }

    /// Forgets what was counted.
    ///
    /// # Context
    /// No CPU runs the handlers.
    pub fn reset(&self) {
        self.seen.store(0, Ordering::Relaxed);
        self.unhandled.store(0, Ordering::Relaxed);
    }

    /// Counts an interrupt that had the result `result`. Returns whether the line is to be given
    /// up.
    ///
    /// * `now_fn` — the present instant, and how many ticks a tenth of a second has
    ///
    /// # Context
    /// The CPU that runs the handlers.
    #[inline]
    pub fn note(&self, result: IrqReturn, now_fn: impl FnOnce() -> (Instant, u64)) -> bool {
        let relaxed = Ordering::Relaxed;
        if result == IrqReturn::None {
            let (now, tenth) = now_fn();
            let before = Instant(self.last_unhandled.load(relaxed));
            // One now and then is no harm: then counting begins anew.
            let is_late = now.ticks_since(before) > tenth;
            let so_far = if is_late {
                0
            } else {
                self.unhandled.load(relaxed)
            };
            self.unhandled.store(so_far + 1, relaxed);
            self.last_unhandled.store(now.0, relaxed);
        }
        let seen = self.seen.load(relaxed) + 1;
        if seen < JUDGED {
            self.seen.store(seen, relaxed);
            return false;
        }
        self.seen.store(0, relaxed);
        let unhandled = self.unhandled.load(relaxed);
        self.unhandled.store(0, relaxed);
        unhandled > TOO_MANY
    }

    /// Returns how many interrupts were seen since the line was last judged, how many of them had
    /// no reason, and when the last of these came; as of a moment ago.
    pub fn counts_racy(&self) -> (u32, u32, Instant) {
        let relaxed = Ordering::Relaxed;
        let last = Instant(self.last_unhandled.load(relaxed));
        (self.seen.load(relaxed), self.unhandled.load(relaxed), last)
    }
}

impl Default for Spurious {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Has `counts` see `none` interrupts without a reason, a tick apart, then `handled` ones.
    /// Returns whether it was given up.
    fn see(counts: &Spurious, none: u32, handled: u32) -> bool {
        let mut given_up = false;
        for at in 0..none {
            given_up |= counts.note(IrqReturn::None, || (Instant(u64::from(at)), 10));
        }
        for _ in 0..handled {
            given_up |= counts.note(IrqReturn::Handled, || panic!("no need to know"));
        }
        given_up
    }

    #[test]
    fn a_line_is_given_up_that_has_a_reason_too_seldom() {
        let counts = Spurious::new();
        assert!(!see(&counts, TOO_MANY, JUDGED - TOO_MANY));
        assert_eq!(counts.counts_racy().0, 0, "counting begins anew");
        assert!(see(&counts, TOO_MANY + 1, JUDGED - TOO_MANY - 1));
    }

    #[test]
    fn one_without_a_reason_now_and_then_is_no_harm() {
        let counts = Spurious::new();
        for at in 1..=u64::from(JUDGED) {
            assert!(!counts.note(IrqReturn::None, || (Instant(at * 11), 10)));
        }
        assert_eq!(counts.counts_racy().1, 0);
    }
}
