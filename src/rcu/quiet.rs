//! Which CPUs are idle, so that a grace period need not wake them.
//!
//! ```text
//!   idle CPU (IRQs masked)               leader
//!   ──────────────────────               ──────
//!   ... earlier sections ...             begins: fence(SeqCst)
//!   quiet = 1 (Release)
//!   WFI                                  quiet (Acquire)? 1: nothing to wait for
//!   quiet = 0                                             0: send the SGI
//!   fence(SeqCst)
//!   ... sections, handlers too ...
//! ```
//!
//! # Invariants
//! - **next-section-sees**: a leader that reads `quiet = 1` has begun a grace period
//!   before. The CPU's next section sees what was stored before that. Both fences are
//!   needed (store buffering).
//! - **leader-sees-sections**: a leader that reads `quiet = 1` sees all that the CPU's
//!   earlier sections did (Release, Acquire).
//! - **quiet-only-sleeps**: between [`Quiet::begin`] and [`Quiet::end`] the CPU only
//!   sleeps, or polls its own word for a moment: no handler runs, because IRQs stay masked until
//!   `end`.
//!
//! `tests/loom_rcu.rs` model-checks this file.

use crate::sync::atomic::{AtomicU32, Ordering, fence};

/// Whether one CPU is idle. Only that CPU writes it.
#[derive(Debug)]
pub struct Quiet {
    /// 1 while the CPU is idle. Stored Release in [`Quiet::begin`], loaded Acquire in
    /// [`Quiet::is_quiet`] (leader-sees-sections); stored Relaxed in [`Quiet::end`],
    /// ordered by the fence behind it (next-section-sees).
    word: AtomicU32,
}

impl Quiet {
    /// Returns the state of a CPU that isn't idle.
    pub fn new() -> Quiet {
        Quiet {
            word: AtomicU32::new(0),
        }
    }

    /// Marks the CPU as idle, before it sleeps.
    ///
    /// # Context
    /// The CPU itself, IRQs masked, no guard held.
    #[inline]
    pub fn begin(&self) {
        self.word.store(1, Ordering::Release);
    }

    /// Marks the CPU as not idle, when it is awake.
    ///
    /// # Context
    /// The CPU itself, IRQs still masked (quiet-only-sleeps).
    #[inline]
    pub fn end(&self) {
        self.word.store(0, Ordering::Relaxed);
        fence(Ordering::SeqCst); // The CPU's half (next-section-sees).
    }

    /// Returns whether the CPU is idle. If so, it has ended all its earlier sections.
    /// Its later sections see what was stored by the callers whose grace period the
    /// leader has begun ([`Sequence::try_begin`](crate::rcu::Sequence::try_begin)).
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
