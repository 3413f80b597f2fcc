//! Keys and their counts, and a batch of changes.

use core::fmt;
use core::ops::Range;

use super::sequence::{Text, write};
use super::table::{Entry, Flaw, Site};
use crate::errno::Errno;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::const_unless_loom;

/// A key: how often it was enabled more often than disabled. It is on if that isn't 0.
#[derive(Debug)]
pub struct Key {
    /// Relaxed: written by one change at a time (`one-change-at-a-time` of
    /// [`patch`](crate::patch)), in the still point if sites are rewritten. Code goes by its sites, and other readers want a moment's value.
    count: AtomicU32,
}

impl Key {
    const_unless_loom! {
        /// Returns a key that is on or off.
        pub const fn new(on: bool) -> Self {
            Key { count: AtomicU32::new(on as u32) }
        }
    }

    /// Returns the count. A change may be under way.
    pub fn count_racy(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the change that enables the key once more.
    pub const fn enabling(&'static self) -> Change {
        Change {
            key: self,
            enable: true,
        }
    }

    /// Returns the change that takes one enabling of the key back.
    pub const fn disabling(&'static self) -> Change {
        Change {
            key: self,
            enable: false,
        }
    }

    fn address(&self) -> usize {
        (&raw const *self).addr()
    }
}

/// Why a batch of changes was refused. None of them has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// A key is disabled more often than it was enabled.
    NotEnabled,
    /// A key is enabled 2³² times.
    TooOften,
    /// The caller may not wait for CPUs that come or go: it is a callback of hotplug, holds the
    /// hotplug lock, or is pinned to a CPU.
    WouldDeadlock,
}

impl KeyError {
    /// Returns what Linux would have returned.
    pub const fn errno(self) -> Errno {
        match self {
            Self::NotEnabled => Errno::Invalid,
            Self::TooOften => Errno::NoSpace,
            Self::WouldDeadlock => Errno::Deadlock,
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotEnabled => "the key is disabled more often than it was enabled",
            Self::TooOften => "the key is enabled too often",
            Self::WouldDeadlock => "the caller may not wait for CPUs that come or go",
        })
    }
}

impl core::error::Error for KeyError {}

/// A change of a key, to be made with others.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Change {
    key: &'static Key,
    enable: bool,
}

/// Changes of keys that happen together.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    changes: &'a [Change],
    table: &'a [Entry],
}

impl<'a> Keys<'a> {
    /// Judges `changes`, in their order: what each does to its key, and every site of a key that
    /// goes on or off.
    ///
    /// * `table` — all sites of the program
    /// * `text` — the addresses of the code, whole pages
    /// * `read_fn` — returns the instruction at an address in `text`
    ///
    /// # Errors
    /// [`KeyError`].
    ///
    /// # Panics
    /// If a site has a [`Flaw`].
    pub fn judge(
        changes: &'a [Change],
        table: &'a [Entry],
        text: &Range<usize>,
        mut read_fn: impl FnMut(usize) -> u32,
    ) -> Result<Self, KeyError> {
        let keys = Keys { changes, table };
        for index in 0..changes.len() {
            keys.count_after(index)?;
        }
        for (site, on) in keys.sites() {
            if let Err(flaw) = site.check(!on, text, &mut read_fn) {
                is_flawed(flaw);
            }
        }
        Ok(keys)
    }

    /// Returns the count of the key of change `index` after that change.
    ///
    /// # Errors
    /// [`KeyError`].
    fn count_after(&self, index: usize) -> Result<u32, KeyError> {
        let key = self.changes[index].key;
        let of_key = self.changes[..=index]
            .iter()
            .filter(|change| core::ptr::eq(change.key, key));
        of_key
            .into_iter()
            .try_fold(key.count_racy(), |count, change| {
                if change.enable {
                    count.checked_add(1).ok_or(KeyError::TooOften)
                } else {
                    count.checked_sub(1).ok_or(KeyError::NotEnabled)
                }
            })
    }

    /// Returns whether the key at this address goes on or off, and to what; `None` if it stays.
    fn turns(&self, address: usize) -> Option<bool> {
        let last = self
            .changes
            .iter()
            .rposition(|change| change.key.address() == address)?;
        let before = self.changes[last].key.count_racy() != 0;
        let after = self.count_after(last).is_ok_and(|count| count != 0);
        (before != after).then_some(after)
    }

    /// Returns the sites that are rewritten, each with whether its key goes on.
    fn sites(&self) -> impl Iterator<Item = (Site, bool)> + Clone + use<'a> {
        let keys = *self;
        keys.table.iter().filter_map(move |entry| {
            let site = entry.site();
            Some((site, keys.turns(site.key)?))
        })
    }

    /// Returns whether any site is rewritten, which needs the still point.
    pub fn has_sites(&self) -> bool {
        self.sites().next().is_some()
    }

    /// Rewrites the sites, by `text`, and changes the counts.
    ///
    /// # Context
    /// As [`write`](super::write()); any, if there are no sites. Nothing has changed a key since
    /// the changes were judged (`one-change-at-a-time` of [`patch`](crate::patch)).
    pub fn apply(&self, text: &mut impl Text) {
        if self.has_sites() {
            let words = self.sites().map(|(site, on)| {
                let word = site.word(on).unwrap_or_else(|flaw| is_flawed(flaw));
                (site.at, word)
            });
            write(text, words);
        }
        // The last change of a key stores its count last. Each count is that of the key's first
        // value with all changes up to there, so it is stored only when no count is read again.
        for (index, change) in self.changes.iter().enumerate() {
            let later = &self.changes[index + 1..];
            if later
                .iter()
                .all(|other| !core::ptr::eq(other.key, change.key))
            {
                let count = self.count_after(index);
                let count = count.unwrap_or_else(|error| panic!("BUG: a judged change: {error}"));
                change.key.count.store(count, Ordering::Relaxed);
            }
        }
    }
}

#[cold]
#[inline(never)]
fn is_flawed(flaw: Flaw) -> ! {
    panic!("BUG: {flaw}");
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::patch::NOP;
    use core::cell::Cell;
    use std::boxed::Box;
    use std::vec::Vec;

    /// `b .+8`.
    const BRANCH: u32 = 0x1400_0002;

    /// Code, its keys and its sites, near each other.
    struct Program {
        code: [Cell<u32>; 1024],
        keys: [Key; 3],
        table: [Entry; 3],
    }

    /// Key 0 is off and has the sites at words 0 and 4; key 1 is off and has none; key 2 is on
    /// and has the site at word 8, which branches while it is off.
    const SITES: [(usize, usize, u32); 3] = [(0, 0, 0), (4, 0, 0), (8, 2, 1)];

    impl Program {
        fn new() -> &'static Program {
            let entry = Entry {
                site: 0,
                target: 0,
                key: 0,
                kind: 0,
                other: 0,
            };
            let mut program = Box::new(Program {
                code: [const { Cell::new(NOP) }; 1024],
                keys: [Key::new(false), Key::new(false), Key::new(true)],
                table: [entry; 3],
            });
            for (index, (word, key, kind)) in SITES.into_iter().enumerate() {
                let at = program.address(word);
                let key = program.keys[key].address();
                let entry = &mut program.table[index];
                lead(&mut entry.site, at);
                lead(&mut entry.target, at + 8);
                lead(&mut entry.key, key);
                entry.kind = kind;
            }
            Box::leak(program)
        }

        fn address(&self, word: usize) -> usize {
            (&raw const self.code[word]).addr()
        }

        fn text(&self) -> Range<usize> {
            self.address(0)..self.address(0) + size_of_val(&self.code)
        }

        fn read(&self, at: usize) -> u32 {
            self.code[(at - self.text().start) / 4].get()
        }

        fn words(&self) -> [u32; 3] {
            SITES.map(|(word, ..)| self.code[word].get())
        }

        fn counts(&self) -> [u32; 3] {
            [0, 1, 2].map(|key: usize| self.keys[key].count_racy())
        }

        /// Makes the changes: positive numbers enable, negative ones disable a key, from 1.
        /// Returns how many words were stored.
        fn change(&'static self, changes: &[i8]) -> Result<usize, KeyError> {
            let change = |number: &i8| {
                let key = &self.keys[usize::from(number.unsigned_abs()) - 1];
                if *number > 0 {
                    key.enabling()
                } else {
                    key.disabling()
                }
            };
            let changes: Vec<_> = changes.iter().map(change).collect();
            let read_fn = |at| self.read(at);
            let keys = Keys::judge(&changes, &self.table, &self.text(), read_fn)?;
            let mut text = Writer {
                program: self,
                stores: 0,
            };
            keys.apply(&mut text);
            Ok(text.stores)
        }
    }

    fn lead(field: &mut i32, to: usize) {
        let distance = to.wrapping_sub((&raw const *field).addr());
        *field = i32::try_from(distance.cast_signed()).expect("it is near");
    }

    struct Writer<'a> {
        program: &'a Program,
        stores: usize,
    }

    impl Text for Writer<'_> {
        fn set_alias(&mut self, _: usize) {}
        fn clear_alias(&mut self) {}
        fn drop_translations(&mut self) {}
        fn store(&mut self, site: usize, word: u32) {
            let start = self.program.text().start;
            self.program.code[(site - start) / 4].set(word);
            self.stores += 1;
        }
        fn clean(&mut self, _: usize) {}
        fn invalidate(&mut self, _: usize) {}
        fn complete(&mut self) {}
        fn synchronize(&mut self) {}
    }

    #[test]
    fn only_the_first_and_the_last_of_a_key_rewrite_its_sites() {
        let program = Program::new();
        assert_eq!(program.words(), [NOP, NOP, NOP]);
        assert_eq!(program.change(&[1]), Ok(2));
        assert_eq!(
            (program.words(), program.counts()),
            ([BRANCH, BRANCH, NOP], [1, 0, 1])
        );
        assert_eq!(program.change(&[1]), Ok(0));
        assert_eq!(program.change(&[-1]), Ok(0));
        assert_eq!(
            (program.words(), program.counts()),
            ([BRANCH, BRANCH, NOP], [1, 0, 1])
        );
        assert_eq!(program.change(&[-1]), Ok(2));
        assert_eq!((program.words(), program.counts()), ([NOP; 3], [0, 0, 1]));
    }

    #[test]
    fn a_key_that_begins_on_and_a_site_that_branches_when_off() {
        let program = Program::new();
        assert_eq!(program.change(&[-3]), Ok(1));
        assert_eq!(
            (program.words(), program.counts()),
            ([NOP, NOP, BRANCH], [0, 0, 0])
        );
        assert_eq!(program.change(&[3]), Ok(1));
        assert_eq!(program.words(), [NOP; 3]);
    }

    #[test]
    fn several_keys_change_together() {
        let program = Program::new();
        assert_eq!(program.change(&[1, 2, -3]), Ok(3));
        assert_eq!(
            (program.words(), program.counts()),
            ([BRANCH; 3], [1, 1, 0])
        );
    }

    #[test]
    fn changes_of_one_key_count_in_their_order() {
        let program = Program::new();
        assert_eq!(program.change(&[1, -1]), Ok(0));
        assert_eq!(program.change(&[1, 1, -1]), Ok(2));
        assert_eq!(program.counts(), [1, 0, 1]);
        assert_eq!(program.change(&[-1, 1]), Ok(0));
        assert_eq!(program.counts(), [1, 0, 1]);
    }

    #[test]
    fn a_refused_batch_changes_nothing() {
        let program = Program::new();
        assert_eq!(program.change(&[1, -2]), Err(KeyError::NotEnabled));
        assert_eq!(program.change(&[-1, 1]), Err(KeyError::NotEnabled));
        program.keys[1].count.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(program.change(&[1, 2]), Err(KeyError::TooOften));
        assert_eq!(
            (program.words(), program.counts()),
            ([NOP; 3], [0, u32::MAX, 1])
        );
    }

    #[test]
    #[should_panic(expected = "BUG: the site at")]
    fn a_site_with_another_word_is_found_before_any_is_written() {
        let program = Program::new();
        program.code[4].set(BRANCH);
        let changed = program.change(&[1]);
        panic!("it was changed: {changed:?}");
    }

    #[test]
    fn sites_of_other_keys_are_not_looked_at() {
        let program = Program::new();
        program.code[8].set(0);
        assert_eq!(program.change(&[1]), Ok(2));
    }
}
