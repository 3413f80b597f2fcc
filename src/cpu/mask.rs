//! Sets of CPUs.

use core::fmt;

use crate::config::{MASK_WORDS, MAX_CPUS};
use crate::cpu::CpuId;
use crate::sync::Bits;

/// A set of CPUs. Prints as Linux prints one: `0-3,8`; the empty set prints as nothing.
///
/// ```no_run
/// use stillpoint::api::cpu::{self, CpuId, CpuMask};
/// use stillpoint::println;
///
/// // The work gets the CPUs that are there, but for three that are kept for something else.
/// let mut kept = CpuMask::first_n(4);
/// kept.remove(CpuId::from_index(2));
/// let online = cpu::online_racy();
/// let for_work = cpu::active_racy().and(&online).without(&kept);
/// match (for_work.only(), for_work.first()) {
///     (Some(cpu), _) => println!("all work is on CPU{cpu}"),
///     (None, Some(first)) => println!("CPUs {for_work} work, CPU{first} leads them"),
///     (None, None) => println!("there is none to work on"),
/// }
///
/// // Those that are off could help; those that firmware has lost could not.
/// let mut helpers = CpuMask::EMPTY;
/// for cpu in cpu::present().without(&online).iter() {
///     if !kept.contains(cpu) {
///         helpers.insert(cpu);
///     }
/// }
/// assert!(helpers.is_subset_of(&cpu::possible()));
/// if !helpers.is_empty() {
///     println!("there could be {} CPUs", for_work.or(&helpers).count());
/// }
///
/// // As words, CPU 0 in the lowest bit of the first, and back.
/// assert_eq!(CpuMask::from_bits(*helpers.bits()), helpers);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuMask(Bits);

impl CpuMask {
    /// The empty set.
    pub const EMPTY: CpuMask = CpuMask([0; MASK_WORDS]);

    /// Returns the set that contains only `cpu`.
    pub fn of(cpu: CpuId) -> CpuMask {
        let mut mask = CpuMask::EMPTY;
        mask.insert(cpu);
        mask
    }

    /// Returns the set of the CPUs numbered 0 to `count - 1`.
    ///
    /// # Panics
    /// If `count` is above `MAX_CPUS`.
    pub fn first_n(count: usize) -> CpuMask {
        assert!(count <= MAX_CPUS, "BUG: {count} CPUs do not fit a mask");
        (0..count).filter_map(CpuId::new).collect()
    }

    /// Returns the set with these bits, CPU 0 in bit 0 of word 0.
    pub const fn from_bits(bits: Bits) -> CpuMask {
        CpuMask(bits)
    }

    /// Returns the bits, CPU 0 in bit 0 of word 0.
    pub const fn bits(&self) -> &Bits {
        &self.0
    }

    /// Adds `cpu`.
    pub fn insert(&mut self, cpu: CpuId) {
        self.0[cpu.index() / 64] |= 1 << (cpu.index() % 64);
    }

    /// Removes `cpu`.
    pub fn remove(&mut self, cpu: CpuId) {
        self.0[cpu.index() / 64] &= !(1 << (cpu.index() % 64));
    }

    /// Returns whether `cpu` is in the set.
    pub const fn contains(&self, cpu: CpuId) -> bool {
        self.0[cpu.index() / 64] & (1 << (cpu.index() % 64)) != 0
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Returns how many CPUs are in the set.
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Returns the lowest CPU of the set, if it isn't empty.
    pub fn first(&self) -> Option<CpuId> {
        self.iter().next()
    }

    /// Returns the CPU of the set, if it has exactly one.
    pub fn only(&self) -> Option<CpuId> {
        let mut cpus = self.iter();
        cpus.next().filter(|_| cpus.next().is_none())
    }

    /// Returns an iterator over the CPUs in rising order.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            words: &self.0,
            word: 0,
            left: self.0[0],
        }
    }

    /// Returns the CPUs that are in both sets.
    pub fn and(&self, other: &CpuMask) -> CpuMask {
        CpuMask(core::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    /// Returns the CPUs that are in either set.
    pub fn or(&self, other: &CpuMask) -> CpuMask {
        CpuMask(core::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    /// Returns the CPUs of this set that are not in `other`.
    pub fn without(&self, other: &CpuMask) -> CpuMask {
        CpuMask(core::array::from_fn(|i| self.0[i] & !other.0[i]))
    }

    /// Returns whether every CPU of this set is in `other`.
    pub fn is_subset_of(&self, other: &CpuMask) -> bool {
        self.without(other).is_empty()
    }
}

/// The CPUs of a mask in rising order: [`CpuMask::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    words: &'a Bits,
    /// Index of the current word.
    word: usize,
    /// The bits of that word whose CPUs have not been returned yet.
    left: u64,
}

impl Iterator for Iter<'_> {
    type Item = CpuId;

    #[inline]
    fn next(&mut self) -> Option<CpuId> {
        while self.left == 0 {
            self.word += 1;
            self.left = *self.words.get(self.word)?;
        }
        let bit = self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        CpuId::new(self.word * 64 + bit)
    }
}

impl FromIterator<CpuId> for CpuMask {
    fn from_iter<I: IntoIterator<Item = CpuId>>(cpus: I) -> Self {
        let mut mask = CpuMask::EMPTY;
        for cpu in cpus {
            mask.insert(cpu);
        }
        mask
    }
}

impl fmt::Display for CpuMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().map(CpuId::index).peekable();
        let mut comma = "";
        while let Some(from) = cpus.next() {
            let mut to = from;
            while let Some(next) = cpus.next_if_eq(&(to + 1)) {
                to = next;
            }
            write!(f, "{comma}{from}")?;
            if to > from {
                write!(f, "-{to}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for CpuMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    fn mask(cpus: &[usize]) -> CpuMask {
        cpus.iter().filter_map(|&cpu| CpuId::new(cpu)).collect()
    }

    #[test]
    fn prints_as_linux_prints_a_list() {
        assert_eq!(CpuMask::EMPTY.to_string(), "");
        assert_eq!(mask(&[0]).to_string(), "0");
        assert_eq!(mask(&[0, 1, 2, 3, 8]).to_string(), "0-3,8");
        assert_eq!(mask(&[63, 64, 65, 511]).to_string(), "63-65,511");
    }

    #[test]
    fn set_operations_agree_with_the_iterator() {
        let a = mask(&[0, 5, 64, 300]);
        let b = mask(&[5, 64, 65]);
        assert_eq!(a.and(&b), mask(&[5, 64]));
        assert_eq!(a.or(&b), mask(&[0, 5, 64, 65, 300]));
        assert_eq!(a.without(&b), mask(&[0, 300]));
        assert!(mask(&[5]).is_subset_of(&a) && !b.is_subset_of(&a));
        assert_eq!(a.count(), a.iter().count());
        assert_eq!(CpuMask::first_n(70).count(), 70);
        assert_eq!(CpuMask::first_n(MAX_CPUS).count(), MAX_CPUS);
    }
}
