//! Bitmaps over CPUs: a plain one, and one whose bits are set one at a time.

use crate::config::{MASK_WORDS, MAX_CPUS};
use crate::sync::atomic::{AtomicU64, Ordering};

/// A bit for each CPU number.
pub type Bits = [u64; MASK_WORDS];

/// A bit for each CPU number, each changed by one atomic access.
///
/// The caller names the ordering, because only the protocol knows it.
#[derive(Debug)]
pub struct AtomicBits {
    words: [AtomicU64; MASK_WORDS],
}

impl AtomicBits {
    /// No bit set.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        AtomicBits {
            words: [const { AtomicU64::new(0) }; MASK_WORDS],
        }
    }

    /// No bit set.
    #[cfg(loom)]
    pub fn new() -> Self {
        AtomicBits {
            words: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Sets bit `bit`; returns whether it was clear before.
    ///
    /// # Panics
    /// If `bit` is not below [`MAX_CPUS`].
    #[inline]
    pub fn set(&self, bit: usize, order: Ordering) -> bool {
        let (word, mask) = place(bit);
        self.words[word].fetch_or(mask, order) & mask == 0
    }

    /// Clears bit `bit`; returns whether it was set before.
    ///
    /// # Panics
    /// If `bit` is not below [`MAX_CPUS`].
    #[inline]
    pub fn clear(&self, bit: usize, order: Ordering) -> bool {
        let (word, mask) = place(bit);
        self.words[word].fetch_and(!mask, order) & mask != 0
    }

    /// Clears those of `bits` that are set; returns which those were.
    pub fn clear_each(&self, bits: &Bits, order: Ordering) -> Bits {
        let mut were_set = *bits;
        for (word, of_interest) in self.words.iter().zip(&mut were_set) {
            if *of_interest != 0 {
                *of_interest &= word.fetch_and(!*of_interest, order);
            }
        }
        were_set
    }

    /// Returns whether bit `bit` is set.
    ///
    /// # Panics
    /// If `bit` is not below [`MAX_CPUS`].
    #[inline]
    pub fn get(&self, bit: usize, order: Ordering) -> bool {
        let (word, mask) = place(bit);
        self.words[word].load(order) & mask != 0
    }

    /// Returns word `word` of the map: the bits of CPUs `64 * word` and up.
    ///
    /// # Panics
    /// If `word` is not below [`MASK_WORDS`].
    #[inline]
    pub fn word(&self, word: usize, order: Ordering) -> u64 {
        self.words[word].load(order)
    }

    /// Returns all bits, read a word at a time: not a snapshot, unless the caller keeps
    /// the map still.
    pub fn snapshot(&self, order: Ordering) -> Bits {
        core::array::from_fn(|word| self.words[word].load(order))
    }

    /// Stores all bits, a word at a time: only where no other CPU writes.
    pub fn store(&self, bits: &Bits, order: Ordering) {
        for (word, value) in self.words.iter().zip(bits) {
            word.store(*value, order);
        }
    }
}

impl Default for AtomicBits {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn place(bit: usize) -> (usize, u64) {
    assert!(bit < MAX_CPUS, "BUG: CPU number {bit} is out of range");
    (bit / 64, 1 << (bit % 64))
}
