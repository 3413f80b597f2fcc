//! The request for a flush, as one word that all CPUs share: which request it is, whether it
//! is still on, and how many CPUs have not finished.
//!
//! ```text
//!            begin: left = n                       finish: left -= 1
//!   over(g) ─────────────────► on(g + 1, left = n) ────────────────► on(g + 1, left = 0)
//!                                │     ▲                               │
//!                                │     └── unfinish: left += 1         │ the last to finish
//!                                │                                     │ is told
//!                                └────────────── end ──────────────────┴──► over(g + 1)
//! ```
//! The word is nobody's frame: a CPU that comes late finds that the request is over, however
//! long ago that was.
//!
//! # Invariants
//! - **own-request-only**: every change is a compare-exchange that finds the generation for
//!   which it was meant, and the request on. What a CPU does late for a request that is over
//!   changes nothing, also if the next one is on by then.
//! - **last-once**: of all that finish exactly one is the last. It sees all that the others
//!   did before they finished.
//! - **last-or-ended**: the end of a request and the last finish are moves of the same word, so
//!   the end knows whether there was a last one, or will be none.
//! - **unfinished-counts**: a CPU's share is in `left` until the CPU has entered and has no
//!   marked thread. Only a CPU whose own share is in `left` gives another one its share
//!   back. So `left` doesn't rise from 0.
//!
//! # Memory ordering
//! `begin` is Release and `look` Acquire: a CPU that finds the request sees what was done
//! before. `finish` is both, as each link of a chain that ends at the last one.
//!
//! `tests/loom_flush.rs` model-checks this file.

#![forbid(unsafe_code)]

use crate::sync::atomic::{AtomicU64, Ordering};

/// The bit that says that the request is on. Below it is the number of CPUs that have not
/// finished, above it the generation.
const ON: u64 = 1 << 31;
const LEFT: u64 = ON - 1;
const GENERATION: u32 = 32;

/// A request for a flush. It stands for the same one for ever: 2^32 requests later, when the
/// number comes again, no CPU remembers the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushId(u32);

/// What [`FlushWord::finish`] has found.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Others have not finished.
    Waits,
    /// This was the last one.
    Last,
    /// The request is over.
    Over,
}

/// What [`FlushWord::end`] has found.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushEnd {
    /// The request was on, and some CPU had not finished: none will be the last.
    Unfinished,
    /// The request was on, and all CPUs had finished: one of them was the last.
    Finished,
    /// The request is over already.
    Over,
}

/// The request, and how far it is.
#[derive(Debug)]
pub struct FlushWord(AtomicU64);

impl FlushWord {
    /// Returns a word of which no request is on.
    pub fn new() -> FlushWord {
        FlushWord(AtomicU64::new(0))
    }

    /// Begins a request in which `cpus` CPUs take part.
    ///
    /// # Context
    /// One caller at a time.
    ///
    /// # Panics
    /// If a request is on.
    pub fn begin(&self, cpus: u32) -> FlushId {
        // Relaxed: only `begin` and `end` change a word that isn't on, and the caller has
        // seen the last end.
        let before = self.0.load(Ordering::Relaxed);
        assert!(before & ON == 0, "BUG: a flush begins while one is on");
        let id = FlushId(generation(before).wrapping_add(1));
        // Pairs with `look`.
        self.0
            .store(word(id) | ON | u64::from(cpus), Ordering::Release);
        id
    }

    /// Returns the request that is on.
    #[inline]
    pub fn look(&self) -> Option<FlushId> {
        // Pairs with `begin`.
        let word = self.0.load(Ordering::Acquire);
        (word & ON != 0).then(|| FlushId(generation(word)))
    }

    /// Returns whether a request is on.
    ///
    /// A CPU that has entered a request reads true as long as that is on: it has read the
    /// word before, and no later read returns an older value.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) & ON != 0
    }

    /// Takes the share of a CPU that has finished the request `id` (unfinished-counts).
    ///
    /// # Context
    /// That CPU, once, under its run-queue lock.
    pub fn finish(&self, id: FlushId) -> Finish {
        // Pairs with the finish of each other CPU (last-once).
        match self.change(id, |word| word - 1, Ordering::AcqRel) {
            Some(before) if before & LEFT == 1 => Finish::Last,
            Some(_) => Finish::Waits,
            None => Finish::Over,
        }
    }

    /// Gives a CPU that had finished the request `id` its share back: a marked thread has
    /// come to it (unfinished-counts).
    ///
    /// # Context
    /// A CPU that has not finished, under the run-queue lock of the other one.
    pub fn unfinish(&self, id: FlushId) {
        // Relaxed: nothing is read because of it, and it is in the chain of `finish`.
        let _unless_over = self.change(id, |word| word + 1, Ordering::Relaxed);
    }

    /// Ends the request `id`, unless it is over. Returns whether any CPU was the last to finish
    /// (last-or-ended).
    ///
    /// # Context
    /// Any.
    pub fn end(&self, id: FlushId) -> FlushEnd {
        // Relaxed: nothing is read because of it.
        match self.change(id, |word| word & !ON & !LEFT, Ordering::Relaxed) {
            Some(before) if before & LEFT == 0 => FlushEnd::Finished,
            Some(_) => FlushEnd::Unfinished,
            None => FlushEnd::Over,
        }
    }

    /// Changes the word if `id` is on (own-request-only). Returns the value before.
    fn change(&self, id: FlushId, change_fn: impl Fn(u64) -> u64, order: Ordering) -> Option<u64> {
        // Relaxed: the compare-exchange decides.
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen & ON != 0 && generation(seen) == id.0 {
            let new = change_fn(seen);
            match self.0.compare_exchange(seen, new, order, Ordering::Relaxed) {
                Ok(before) => return Some(before),
                Err(now) => seen = now,
            }
        }
        None
    }
}

impl Default for FlushWord {
    fn default() -> Self {
        Self::new()
    }
}

fn generation(word: u64) -> u32 {
    (word >> GENERATION) as u32
}

fn word(id: FlushId) -> u64 {
    u64::from(id.0) << GENERATION
}
