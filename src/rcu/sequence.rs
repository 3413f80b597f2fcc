//! One round serves all callers that wait: the numbers of rounds, and which caller
//! begins the next one.
//!
//! ```text
//!   0      1       2       3       4      even: none runs; odd: one does
//!   ───────┼───────┼───────┼───────┼──►
//!        ▲ begins  ends  begins  ends
//!      a │    ▲ b
//!        needs 2 needs 4: the round under way began before b called
//! ```
//! A caller that finds no round running, and its own still to come, begins it for all
//! callers that wait by then. Callers that come meanwhile share the next round.
//!
//! # Invariants
//! - **one-caller-begins**: one caller begins a round (a compare-exchange from even to
//!   odd), and one ends it.
//! - **stores-before-round**: what a caller stored before [`Sequence::need`] comes
//!   before the round that it needs: both fences are required (store buffering), since
//!   it only loads.
//! - **end-is-visible**: what happened before the end of a round is visible to all
//!   callers that find the round done.
//!
//! `tests/loom_rcu.rs` model-checks this file.

use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// How many rounds have begun and ended.
#[derive(Debug)]
pub struct Sequence {
    /// Stored Release in [`Sequence::end`], loaded Acquire by the callers that find a
    /// round done and by the caller that begins the next (end-is-visible).
    number: AtomicU64,
}

/// The number that must be reached before a caller may continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need(u64);

/// What a caller that needs a round finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// The round is over.
    Done,
    /// The caller has begun the round and must run it.
    Begun,
    /// Another round runs. The caller waits for its end, then asks again.
    Busy,
}

impl Sequence {
    /// Returns a sequence in which no round has begun.
    pub fn new() -> Sequence {
        Sequence {
            number: AtomicU64::new(0),
        }
    }

    /// Returns the number that will be reached when a round is over that begins after
    /// this call.
    pub fn need(&self) -> Need {
        fence(Ordering::SeqCst); // The caller's half (stores-before-round).
        Need((self.number.load(Ordering::Relaxed) + 3) & !1)
    }

    /// Begins the round of `need`, if it is not over and no round runs. The round comes
    /// after all that was stored by the callers that need it.
    pub fn try_begin(&self, need: Need) -> Turn {
        let now = self.number.load(Ordering::Acquire);
        if now >= need.0 {
            return Turn::Done;
        }
        let is_free = now.is_multiple_of(2);
        if !is_free || !self.advance(now) {
            return Turn::Busy;
        }
        fence(Ordering::SeqCst); // The round's half (stores-before-round).
        Turn::Begun
    }

    /// Increments the number from `from`. Returns whether this caller did
    /// (one-caller-begins).
    fn advance(&self, from: u64) -> bool {
        // Relaxed: the load before and the fence behind order it.
        let (ok, failed) = (Ordering::Relaxed, Ordering::Relaxed);
        self.number
            .compare_exchange(from, from + 1, ok, failed)
            .is_ok()
    }

    /// Ends the current round. Exactly one CPU must call this, after it has acquired
    /// all reports of the round.
    pub fn end(&self) {
        let before = self.number.fetch_add(1, Ordering::Release);
        assert!(
            !before.is_multiple_of(2),
            "BUG: a round ended that had not begun"
        );
    }

    /// Returns whether the round of `need` is over.
    pub fn is_done(&self, need: Need) -> bool {
        self.number.load(Ordering::Acquire) >= need.0
    }
}

impl Default for Sequence {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_under_way_is_not_enough() {
        let rounds = Sequence::new();
        let before = rounds.need();
        assert_eq!(rounds.try_begin(before), Turn::Begun);
        let during = rounds.need();
        assert_eq!(rounds.try_begin(during), Turn::Busy);
        rounds.end();
        assert!(rounds.is_done(before) && !rounds.is_done(during));
        assert_eq!(rounds.try_begin(before), Turn::Done);
        assert_eq!(rounds.try_begin(during), Turn::Begun);
        rounds.end();
        assert!(rounds.is_done(during));
    }

    #[test]
    fn those_who_come_together_share_one() {
        let rounds = Sequence::new();
        let needs = [rounds.need(), rounds.need(), rounds.need()];
        assert_eq!(rounds.try_begin(needs[1]), Turn::Begun);
        rounds.end();
        assert!(needs.iter().all(|need| rounds.is_done(*need)));
    }

    #[test]
    #[should_panic(expected = "had not begun")]
    fn only_what_has_begun_ends() {
        Sequence::new().end();
    }
}
