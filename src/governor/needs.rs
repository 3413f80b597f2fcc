//! The most CPUs that a sample of the last time has needed.
//!
//! # Invariants
//! - **needs-fall**: of two entries the later one needs fewer CPUs. An earlier one that needs no
//!   more than a later one can't be the most of any time that ends now.
//! - **never-too-few**: where there is no room for an entry, it joins the one before it, with the
//!   need of that one: so CPUs stay longer, never shorter.

#![forbid(unsafe_code)]

/// How many needs are told apart.
const ROOM: usize = 8;

/// Needs, and until when each was there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// The time of a need's last sample, and the need; the first `count` (needs-fall).
    entries: [(u64, usize); ROOM],
    count: usize,
    /// Since when there are samples without a gap.
    since: u64,
}

impl Needs {
    /// Forgets all; the first sample begins at `at`.
    pub(super) fn new(at: u64) -> Needs {
        Needs {
            entries: [(0, 0); ROOM],
            count: 0,
            since: at,
        }
    }

    /// Notes what the sample needed that ended at `at`.
    pub(super) fn note(&mut self, at: u64, need: usize) {
        while self.count > 0 && self.entries[self.count - 1].1 <= need {
            self.count -= 1;
        }
        if self.count == ROOM {
            self.entries[ROOM - 1].0 = at; // (never-too-few)
        } else {
            self.entries[self.count] = (at, need);
            self.count += 1;
        }
    }

    /// Returns the most that a sample has needed which ended at `from` or later, if there are
    /// samples since `from`. Forgets what was earlier.
    pub(super) fn most_since(&mut self, from: u64) -> Option<usize> {
        let first = self.entries[..self.count]
            .iter()
            .position(|(at, _)| *at >= from);
        let earlier = first.unwrap_or(self.count);
        self.entries.copy_within(earlier..self.count, 0);
        self.count -= earlier;
        let (_, need) = self.entries[..self.count].first()?;
        (self.since <= from).then_some(*need)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_of_the_last_time_counts() {
        let mut needs = Needs::new(0);
        for (at, need) in [(10, 3), (20, 5), (30, 2), (40, 4), (50, 1)] {
            needs.note(at, need);
        }
        assert_eq!(needs.most_since(5), Some(5));
        assert_eq!(needs.most_since(20), Some(5));
        assert_eq!(needs.most_since(21), Some(4));
        assert_eq!(needs.most_since(41), Some(1));
        assert_eq!(needs.most_since(51), None);
    }

    #[test]
    fn without_samples_since_then_there_is_no_answer() {
        let mut needs = Needs::new(100);
        needs.note(110, 1);
        assert_eq!(needs.most_since(99), None);
        assert_eq!(needs.most_since(100), Some(1));
    }

    #[test]
    fn without_room_a_need_is_never_too_small() {
        let mut needs = Needs::new(0);
        let all: [(u64, usize); 20] = core::array::from_fn(|nth| (nth as u64, 40 - nth));
        for (at, need) in all {
            needs.note(at, need);
            let exact = all.iter().filter(|(end, _)| (3..=at).contains(end));
            let exact = exact.map(|(_, need)| *need).max();
            let mut seen = needs;
            assert!(seen.most_since(3) >= exact, "{at}");
        }
        assert!(needs.most_since(19).is_some());
    }
}
