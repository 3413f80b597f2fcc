//! The table of sites, and what is checked of a site before it is written.

use core::fmt;
use core::ops::Range;

use super::insn::{BranchError, NOP, RET, branch, call};

/// The kind of an entry whose site branches while its key is on.
const BRANCHES_WHEN_ON: u32 = 0;
/// The kind of an entry whose site branches while its key is off.
const BRANCHES_WHEN_OFF: u32 = 1;
/// The kind of an entry whose site calls one function while its key is on and another while it is
/// off.
const CALLS: u32 = 2;
/// The kind of an entry whose site branches while its key is on, and returns while it is off.
const RETURNS: u32 = 3;

/// An entry of the table, as the macros of the sites make it. Distances from the field itself,
/// so that nothing has to be relocated.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    /// From here to the site.
    pub site: i32,
    /// From here to where the site branches, or to what it calls while the key is on.
    pub target: i32,
    /// From here to the key.
    pub key: i32,
    /// 0: the site branches while the key is on; 1: while it is off; 2: it calls; 3: it
    /// branches while the key is on, and returns while it is off.
    pub kind: u32,
    /// From here to what a site that calls calls while the key is off.
    pub other: i32,
}

// The assembly of the macros writes five words.
const _: () = assert!(size_of::<Entry>() == 20 && align_of::<Entry>() == 4);

/// Returns the address to which `field`, a distance from itself, leads.
fn address(field: &i32) -> usize {
    // An address space has 64 bits, so the distance fits.
    (&raw const *field)
        .addr()
        .wrapping_add_signed(*field as isize)
}

impl Entry {
    /// Returns the addresses of the entry, which is in its place in the table.
    pub fn site(&self) -> Site {
        Site {
            at: address(&self.site),
            target: address(&self.target),
            key: address(&self.key),
            kind: self.kind,
            other: address(&self.other),
        }
    }
}

/// A place in the code that is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// The address of its instruction.
    pub at: usize,
    /// Where that branches, if it branches, or what it calls while the key is on.
    pub target: usize,
    /// The address of the key.
    pub key: usize,
    /// The kind of the entry.
    pub kind: u32,
    /// What it calls while the key is off, if it calls.
    pub other: usize,
}

/// What is wrong with a site. The table is part of the Image, so none of this ever happens,
/// unless the Image is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The site, or where it branches, is outside the code.
    OutsideText(Site),
    /// There is no such branch.
    Branch(BranchError),
    /// There is no such kind of an entry.
    UnknownKind(Site),
    /// There is another instruction at the site than the key says (`word-is-count` of
    /// [`patch`](crate::patch)).
    OtherWord {
        /// The site.
        site: Site,
        /// The instruction that should be there.
        expected: u32,
        /// The instruction that is there.
        found: u32,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideText(site) => write!(
                f,
                "the site at {:#x}, which branches to {:#x}, is outside the code",
                site.at, site.target
            ),
            Self::Branch(error) => write!(f, "a site: {error}"),
            Self::UnknownKind(site) => {
                write!(f, "the site at {:#x} is of kind {}", site.at, site.kind)
            }
            Self::OtherWord {
                site,
                expected,
                found,
            } => write!(
                f,
                "the site at {:#x} has the instruction {found:#010x}, not {expected:#010x}",
                site.at
            ),
        }
    }
}

impl core::error::Error for Flaw {}

impl Site {
    /// Returns the instruction of the site while its key is `on` (`one-of-two` of
    /// [`patch`](crate::patch)).
    ///
    /// # Errors
    /// [`Flaw`].
    pub fn word(&self, on: bool) -> Result<u32, Flaw> {
        let otherwise = if self.kind == RETURNS { RET } else { NOP };
        let branches = match self.kind {
            BRANCHES_WHEN_ON | RETURNS => on,
            BRANCHES_WHEN_OFF => !on,
            CALLS => {
                let to = if on { self.target } else { self.other };
                return call(self.at, to).map_err(Flaw::Branch);
            }
            _ => return Err(Flaw::UnknownKind(*self)),
        };
        if !branches {
            return Ok(otherwise);
        }
        branch(self.at, self.target).map_err(Flaw::Branch)
    }

    /// Checks the site of a key that is `on`: both its instructions exist, it lies in `text`,
    /// and the right one of the two is there.
    ///
    /// # Errors
    /// [`Flaw`].
    pub fn check(
        &self,
        on: bool,
        text: &Range<usize>,
        read_fn: impl FnOnce(usize) -> u32,
    ) -> Result<(), Flaw> {
        let (expected, _other) = (self.word(on)?, self.word(!on)?);
        // Before anything is read there. Both are the addresses of instructions, and text
        // consists of whole pages.
        let leads = [self.at, self.target];
        let calls = (self.kind == CALLS).then_some(self.other);
        if !leads.iter().chain(&calls).all(|at| text.contains(at)) {
            return Err(Flaw::OutsideText(*self));
        }
        let found = read_fn(self.at);
        if found != expected {
            return Err(Flaw::OtherWord {
                site: *self,
                expected,
                found,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: Site = Site {
        at: 0x1000,
        target: 0x1010,
        key: 0x9000,
        kind: BRANCHES_WHEN_ON,
        other: 0,
    };
    const TEXT: Range<usize> = 0x1000..0x2000;

    fn check(site: Site, on: bool, word: u32) -> Result<(), Flaw> {
        site.check(on, &TEXT, |_| word)
    }

    #[test]
    fn an_entry_leads_from_its_own_place() {
        #[repr(C)]
        struct Placed {
            table: [Entry; 2],
            code: [u32; 4],
        }
        let entry = |site, target, key, kind, other| Entry {
            site,
            target,
            key,
            kind,
            other,
        };
        let placed = Placed {
            table: [entry(40, 40, -8, 0, 0), entry(32, 16, -28, 2, 12)],
            code: [NOP; 4],
        };
        let code = |index: usize| (&raw const placed.code[index]).addr();
        let table = (&raw const placed.table).addr();
        let [first, second] = [placed.table[0].site(), placed.table[1].site()];
        assert_eq!((first.at, first.target), (code(0), code(1)));
        assert_eq!((first.key, first.kind), (table, 0));
        assert_eq!((second.at, second.target), (code(3), code(0)));
        assert_eq!((second.key, second.kind), (table, 2));
        assert_eq!(second.other, code(2));
    }

    #[test]
    fn each_kind_has_its_two_words() {
        let likely = Site {
            kind: BRANCHES_WHEN_OFF,
            ..SITE
        };
        let branch = 0x1400_0004;
        assert_eq!([SITE.word(false), SITE.word(true)], [Ok(NOP), Ok(branch)]);
        assert_eq!(
            [likely.word(false), likely.word(true)],
            [Ok(branch), Ok(NOP)]
        );
        let calls = Site {
            kind: CALLS,
            other: 0x1020,
            ..SITE
        };
        assert_eq!(
            [calls.word(false), calls.word(true)],
            [Ok(0x9400_0008), Ok(0x9400_0004)]
        );
        let returns = Site {
            kind: RETURNS,
            ..SITE
        };
        assert_eq!(
            [returns.word(false), returns.word(true)],
            [Ok(RET), Ok(branch)]
        );
        let odd = Site { kind: 4, ..SITE };
        assert_eq!(odd.word(true), Err(Flaw::UnknownKind(odd)));
    }

    #[test]
    fn only_the_word_of_the_key_may_stand_there() {
        assert_eq!(check(SITE, false, NOP), Ok(()));
        assert_eq!(check(SITE, true, 0x1400_0004), Ok(()));
        for (on, found, expected) in [
            (true, NOP, 0x1400_0004),
            (false, 0x1400_0004, NOP),
            (false, 0xd65f_03c0, NOP),
            (true, 0x1400_0005, 0x1400_0004),
        ] {
            let flaw = Flaw::OtherWord {
                site: SITE,
                expected,
                found,
            };
            assert_eq!(check(SITE, on, found), Err(flaw));
        }
    }

    #[test]
    fn nothing_is_read_outside_the_code() {
        let at = Site { at: 0x0ffc, ..SITE };
        let behind = Site { at: 0x2000, ..SITE };
        let target = Site {
            target: 0x2000,
            ..SITE
        };
        let other = Site {
            kind: CALLS,
            other: 0x2000,
            ..SITE
        };
        for site in [at, behind, target, other] {
            let found = site.check(false, &TEXT, |at| panic!("{at:#x} is read"));
            assert_eq!(found, Err(Flaw::OutsideText(site)));
        }
    }

    #[test]
    fn a_branch_that_does_not_exist_is_found_while_the_nop_stands_there() {
        let far = Site {
            target: 0x1000 + (1 << 27),
            ..SITE
        };
        let flaw = BranchError::TooFar {
            from: far.at,
            to: far.target,
        };
        assert_eq!(check(far, false, NOP), Err(Flaw::Branch(flaw)));
        let odd = Site {
            target: 0x1002,
            ..SITE
        };
        assert!(matches!(check(odd, false, NOP), Err(Flaw::Branch(_))));
    }
}
