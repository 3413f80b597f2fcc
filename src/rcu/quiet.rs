//! Which CPUs are idle, so that a grace period need not wake them.
//!
//! ```text
//!   idle CPU (IRQs masked)               leader
//!   ──────────────────────               ──────
//!   ... sections of before ...           begins: fence(SeqCst)
//!   quiet = 1 (Release)
//!   WFI                                  quiet (Acquire)? 1: nothing to wait for
//!   quiet = 0                                             0: send the SGI
//!   fence(SeqCst)
//!   ... sections, handlers too ...
//! ```
//!
//! # Invariants
//! - **next-section-sees**: a leader that takes the CPU for quiet has begun a grace
//!   period before. The CPU's next section sees what was stored before that. Both
//!   fences are needed (store buffering).
//! - **leader-sees-sections**: a leader that reads `quiet = 1` sees all that the CPU's
//!   earlier sections did (Release, Acquire).
//! - **quiet-only-sleeps**: between quiet and not quiet the CPU does nothing but sleep:
//!   no handler runs, because IRQs stay masked until it is over.
//!
//! `tests/loom_rcu.rs` model-checks this file.

use crate::sync::atomic::{AtomicU32, Ordering, fence};

/// Whether one CPU is idle; written by that CPU alone.
#[derive(Debug)]
pub struct Quiet {
    /// 1 while it is. Stored Release in [`Quiet::begin`], loaded Acquire in
    /// [`Quiet::is_quiet`] (leader-sees-sections); stored Relaxed in [`Quiet::end`],
    /// ordered by the fence behind it (next-section-sees).
    word: AtomicU32,
}

impl Quiet {
    /// Of a CPU that isn't idle.
    pub fn new() -> Quiet {
        Quiet {
            word: AtomicU32::new(0),
        }
    }

    /// The CPU goes to sleep. IRQs masked, no guard held.
    #[inline]
    pub fn begin(&self) {
        self.word.store(1, Ordering::Release);
    }

    /// The CPU is awake. IRQs still masked (quiet-only-sleeps).
    #[inline]
    pub fn end(&self) {
        self.word.store(0, Ordering::Relaxed);
        fence(Ordering::SeqCst); // The CPU's half (next-section-sees).
    }

    /// Whether the CPU is idle: it has ended all sections of before, and later ones
    /// see what those stored who need the grace period that the caller has begun
    /// ([`Sequence::try_begin`](crate::rcu::Sequence::try_begin)).
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.word.load(Ordering::Acquire) != 0
    }
}

impl Default for Quiet {
    fn default() -> Self {
        Self::new()
    }
}
