//! The word of a line: whether its handlers run, and whether they may.
//!
//! ```text
//!                      begin                         end
//!          open ──────────────────▶ running ───────────────────▶ open
//!                                     │  ▲
//!                begin, on another CPU│  │end: runs once more
//!                                     ▼  │
//!                             running, pending
//!
//!   shut:  begin ─▶ pending, and nothing runs;   open ─▶ tells whether it is pending
//! ```
//! *Pending* here is what the controller has handed over and no handler has run for. What the
//! controller itself keeps pending isn't seen.

#![forbid(unsafe_code)]

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::const_unless_loom;

/// A CPU runs the handlers.
const RUNNING: u32 = 1;
/// The interrupt has come when no handler could run.
const PENDING: u32 = 2;
/// No handler may begin.
const SHUT: u32 = 4;

/// What [`LineWord::begin`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The caller runs the handlers now, and then calls [`LineWord::end`].
    Run,
    /// Another CPU runs them, and will run them once more.
    Running,
    /// They may not run.
    Shut,
}

/// What [`LineWord::end`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was the last run.
    Over,
    /// The interrupt has come meanwhile: the caller runs the handlers once more.
    Again,
}

/// The word of one line.
///
/// From `begin` to `end` the caller has the handlers for itself (`one-runs` of
/// [`irq`](crate::irq)).
#[derive(Debug)]
pub struct LineWord(AtomicU32);

impl LineWord {
    const_unless_loom! {
        /// Returns the word of a line that is shut and not pending.
        pub const fn new() -> LineWord {
            LineWord(AtomicU32::new(SHUT))
        }
    }

    /// Begins a run of the handlers, if they may run and none does.
    ///
    /// # Context
    /// The handler of the interrupt, IRQs masked.
    #[inline]
    pub fn begin(&self) -> Begin {
        // Acquire pairs with the Release in `end`, which had the handlers before, and with that
        // in `open`, before which they were put there.
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        match self.0.compare_exchange(0, RUNNING, acquire, relaxed) {
            Ok(_) => Begin::Run,
            Err(word) => self.begin_slowly(word),
        }
    }

    /// Does as [`LineWord::begin`] where the word was `word` a moment ago.
    #[cold]
    fn begin_slowly(&self, mut word: u32) -> Begin {
        loop {
            let refused = word & (RUNNING | SHUT);
            let next = if refused == 0 {
                word & !PENDING | RUNNING
            } else {
                word | PENDING
            };
            // Acquire as in `begin`. Release pairs with the Acquire in `end` and in `begin`: what
            // this CPU has seen of the device before is seen by the run that makes up for it.
            let (to_come, relaxed) = (Ordering::AcqRel, Ordering::Relaxed);
            match self.0.compare_exchange(word, next, to_come, relaxed) {
                Ok(_) if refused == 0 => return Begin::Run,
                Ok(_) if refused & SHUT != 0 => return Begin::Shut,
                Ok(_) => return Begin::Running,
                Err(now) => word = now,
            }
        }
    }

    /// Ends a run of the handlers.
    ///
    /// # Context
    /// As [`LineWord::begin`], which has returned [`Begin::Run`], or this [`End::Again`].
    #[inline]
    pub fn end(&self) -> End {
        // Release pairs with the Acquire in `begin`, and with that in `is_running`: the run is
        // over for a thread that sees that nothing runs.
        let (release, relaxed) = (Ordering::Release, Ordering::Relaxed);
        match self.0.compare_exchange(RUNNING, 0, release, relaxed) {
            Ok(_) => End::Over,
            Err(word) => self.end_slowly(word),
        }
    }

    /// Does as [`LineWord::end`] where the word was `word` a moment ago.
    #[cold]
    fn end_slowly(&self, mut word: u32) -> End {
        loop {
            assert!(word & RUNNING != 0, "BUG: a run of handlers ends twice");
            let again = word & (PENDING | SHUT) == PENDING;
            let next = if again {
                word & !PENDING
            } else {
                word & !RUNNING
            };
            // Release as in `end`; Acquire pairs with the Release in `begin_slowly`.
            let (to_end, relaxed) = (Ordering::AcqRel, Ordering::Relaxed);
            match self.0.compare_exchange(word, next, to_end, relaxed) {
                Ok(_) if again => return End::Again,
                Ok(_) => return End::Over,
                Err(now) => word = now,
            }
        }
    }

    /// Lets no further run begin. One may be under way: see [`LineWord::is_running`].
    ///
    /// # Context
    /// The holder of the line's lock.
    pub fn shut(&self) {
        // Relaxed: it publishes nothing. `is_running` looks at the same word, so it sees a run
        // that began before.
        self.0.fetch_or(SHUT, Ordering::Relaxed);
    }

    /// Lets runs begin. Returns whether the interrupt has come while it was shut; that is
    /// forgotten by this.
    ///
    /// # Context
    /// As [`LineWord::shut`].
    pub fn open(&self) -> bool {
        // Release pairs with the Acquire in `begin`: the run sees the handlers that were put
        // there. It also sees what was released in `begin_slowly`, whose store this one continues.
        self.0.fetch_and(!(SHUT | PENDING), Ordering::Release) & PENDING != 0
    }

    /// Returns whether a CPU runs the handlers.
    pub fn is_running(&self) -> bool {
        // Pairs with the Release in `end`.
        self.0.load(Ordering::Acquire) & RUNNING != 0
    }
}

impl Default for LineWord {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_that_comes_during_a_run_has_one_more_run() {
        let word = LineWord::new();
        assert!(!word.open());
        assert_eq!(word.begin(), Begin::Run);
        assert_eq!(word.begin(), Begin::Running);
        assert_eq!(word.begin(), Begin::Running);
        assert_eq!(word.end(), End::Again);
        assert!(word.is_running());
        assert_eq!(word.end(), End::Over);
        assert!(!word.is_running());
    }

    #[test]
    fn a_shut_line_keeps_what_comes_until_it_is_open() {
        let word = LineWord::new();
        assert_eq!(word.begin(), Begin::Shut);
        assert!(word.open());
        assert_eq!(word.begin(), Begin::Run);
        word.shut();
        assert!(word.is_running());
        assert_eq!(word.begin(), Begin::Shut);
        // It is shut, so there is no further run, and the interrupt isn't forgotten.
        assert_eq!(word.end(), End::Over);
        assert!(word.open());
        assert!(!word.open());
    }

    #[test]
    #[should_panic(expected = "BUG: a run of handlers ends twice")]
    fn a_run_ends_once() {
        let word = LineWord::new();
        word.open();
        assert_eq!(word.begin(), Begin::Run);
        assert_eq!(word.end(), End::Over);
        word.end();
    }
}
