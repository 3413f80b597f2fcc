//! Which start of a CPU something belongs to.

#![forbid(unsafe_code)]

/// The number of a CPU's start: 1 to [`Life::LAST`], then 1 again; 0 before the first. The
/// CPU is told it by CPU_ON and puts it beside the reason if it refuses itself, so that
/// control never takes a reason of an earlier life for one of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life(u32);

impl Life {
    /// Before the first start.
    pub const NONE: Life = Life(0);

    /// The highest number. It goes with the address of the boot record in one register, in
    /// the bits that are 0 there. A reason that is older than this many starts would be
    /// mistaken; a CPU that is off has none to write any more.
    pub const LAST: u32 = 127;

    /// Returns the one after this.
    #[must_use]
    pub const fn next(self) -> Life {
        Life(self.0 % Life::LAST + 1)
    }

    /// Returns the number, 0 to [`Life::LAST`].
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Returns the life of that number.
    ///
    /// # Panics
    /// If there is none.
    pub const fn from_number(number: u32) -> Life {
        assert!(number <= Life::LAST, "BUG: no life has this number");
        Life(number)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn lives_follow_each_other_and_none_is_none() {
        let mut life = Life::NONE;
        for turn in 0..3 * Life::LAST {
            let next = life.next();
            assert!(next != life && next != Life::NONE);
            assert_eq!(next.number(), turn % Life::LAST + 1);
            assert_eq!(Life::from_number(next.number()), next);
            life = next;
        }
    }
}
