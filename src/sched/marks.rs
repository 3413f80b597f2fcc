//! How a thread left its CPU, and what that says of the references that it may hold.
//!
//! ```text
//!                 preempted outside                preempted in the
//!                 the application's code           application's code
//!      unmarked ─────────────────────────► marked ───────────────────► unmarked
//!                                            │                            ▲
//!                                            └── sleeps, parks, yields, ──┘
//!                                                ends, `quiescent`
//! ```
//! A thread that gives its CPU away by itself holds no reference that it has not counted
//! somewhere. A thread that is preempted may be in the middle of something. So a change that
//! must not meet such a reader waits for the threads that are marked (`flush`), or for all
//! that were preempted (`holdouts`), which costs more: then a loop of an application counts.
//!
//! # Invariants
//! - **preempted-or-not**: `PREEMPTED` is set if and only if the thread was preempted when it
//!   left a CPU last, and has not said since that it holds nothing.
//! - **marked-in-kernel**: `MARKED` is set if and only if `PREEMPTED` is and the thread was
//!   not in the application's code when it left a CPU last.

#![forbid(unsafe_code)]

use crate::sched::{SchedHost, Thread};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Bits of `Marks::unfinished`.
const PREEMPTED: u32 = 1;
const HOLDOUT: u32 = 2;
const MARKED: u32 = 4;

/// What is known of the references that a thread may hold.
#[derive(Debug)]
pub(super) struct Marks {
    /// [`PREEMPTED`] and [`MARKED`] (preempted-or-not, marked-in-kernel). [`HOLDOUT`]: a
    /// caller of `note_holdouts` waits until the thread has given its CPU away by itself. All
    /// are in one word, so that one store clears them. Relaxed: run-queue lock.
    unfinished: AtomicU32,
    /// Whether the thread runs the application's own code. Relaxed: only the thread writes it
    /// (`only-owner-enters` of `in_app`), and its own CPU reads it in a handler; another CPU
    /// gets a hint.
    in_app: AtomicBool,
}

impl Marks {
    /// Returns the marks of a thread that has not run.
    pub(super) fn new() -> Marks {
        Marks {
            unfinished: AtomicU32::new(0),
            in_app: AtomicBool::new(false),
        }
    }
}

impl<P: SchedHost> Thread<P> {
    /// Returns whether the thread was preempted when it last left its CPU, as of a
    /// moment ago.
    #[inline]
    pub fn was_preempted_racy(&self) -> bool {
        self.marks.unfinished.load(Ordering::Relaxed) & PREEMPTED != 0
    }

    /// Returns whether the thread is marked, as of a moment ago: it was preempted when it
    /// last left its CPU, and not in the application's own code.
    #[inline]
    pub fn is_marked_racy(&self) -> bool {
        self.marks.unfinished.load(Ordering::Relaxed) & MARKED != 0
    }

    /// Returns whether the thread runs the application's own code. Of a thread that runs on
    /// another CPU that is a hint.
    #[inline]
    pub fn is_in_app(&self) -> bool {
        self.marks.in_app.load(Ordering::Relaxed)
    }

    /// Sets whether the thread runs the application's own code.
    ///
    /// # Context
    /// The thread itself.
    #[inline]
    pub fn set_in_app(&self, in_app: bool) {
        self.marks.in_app.store(in_app, Ordering::Relaxed);
    }

    /// Records that the thread leaves its CPU because it was preempted.
    ///
    /// # Context
    /// Under the run-queue lock, on the thread's CPU.
    #[inline]
    pub(crate) fn leaves_preempted(&self) {
        let holdout = self.marks.unfinished.load(Ordering::Relaxed) & HOLDOUT;
        let mark = if self.is_in_app() { 0 } else { MARKED };
        self.marks
            .unfinished
            .store(holdout | PREEMPTED | mark, Ordering::Relaxed);
    }

    /// Records that the thread leaves its CPU by itself, or says that it holds nothing.
    ///
    /// # Context
    /// Under the run-queue lock.
    #[inline]
    pub(crate) fn leaves_by_itself(&self) {
        self.marks.unfinished.store(0, Ordering::Relaxed);
    }

    /// Returns whether the thread is a holdout, or was preempted, as of a moment ago. A thread
    /// that asks for itself may miss that it has just become a holdout, and finds it next time.
    #[inline]
    pub(super) fn is_unfinished_racy(&self) -> bool {
        self.marks.unfinished.load(Ordering::Relaxed) != 0
    }

    /// Returns whether the thread is a recorded holdout.
    ///
    /// # Context
    /// Under the run-queue lock.
    pub(super) fn is_holdout(&self) -> bool {
        self.marks.unfinished.load(Ordering::Relaxed) & HOLDOUT != 0
    }

    /// Records whether the thread is a holdout.
    ///
    /// # Context
    /// Under the run-queue lock.
    pub(super) fn set_holdout(&self, holdout: bool) {
        let others = self.marks.unfinished.load(Ordering::Relaxed) & !HOLDOUT;
        let bit = if holdout { HOLDOUT } else { 0 };
        self.marks.unfinished.store(others | bit, Ordering::Relaxed);
    }
}
