//! A set of CPUs as the fewest writes to `ICC_SGI1R_EL1`.
//!
//! A GICv3 sends a software generated interrupt in one of two shapes: to *all
//! CPUs but the sender*, or to a *list* of up to 16 CPUs that share their
//! affinity levels 3, 2 and 1. The first is a single write on a machine of any
//! size, but it also reaches CPUs that are off: there the interrupt stays
//! pending, and greets the CPU when it comes back. So it is used only when the
//! targets are exactly every CPU interface that the GIC has.
//!
//! Everything that doesn't depend on the targets is worked out once, at boot:
//! which CPUs share a list (a *group*), and which group each CPU is in. Sending
//! takes no memory and no lock, and looks at each target once.
//!
//! # Invariants
//! - **tables-agree**: a CPU is in one group at most, at one bit of it, and `places` has
//!   that group.
//! - **group-by-affinity**: the CPUs of a group, and no others, share affinity levels 3, 2, 1 and the
//!   upper four bits of level 0.
//! - **all-but-self-is-exact**: an all-but-self write reaches the targets and no other CPU.
//!
//! # Sources
//! IHI 0069, ICC_SGI1R_EL1 (fields, "all excluding self", range selector) and
//! GICD_TYPER.RSS.

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::fmt;

use crate::config::{MASK_WORDS, MAX_CPUS};
use crate::cpu::{CpuId, CpuMask, Mpidr};
use crate::platform::OUR_SGI_COUNT;
use crate::sync::Bits;

/// CPUs that one list write can name (IHI 0069, ICC_SGI1R_EL1.TargetList).
const LIST_LEN: usize = 16;

/// One write to `ICC_SGI1R_EL1`, the interrupt number left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SgiWrite {
    /// To every CPU interface that the GIC has, except the sender's.
    AllButSelf,
    /// To up to 16 CPUs of one affinity group.
    List {
        /// Affinity level 3 of the group.
        aff3: u8,
        /// Affinity level 2 of the group.
        aff2: u8,
        /// Affinity level 1 of the group.
        aff1: u8,
        /// Upper four bits of affinity level 0; not 0 only where the GIC has a
        /// range selector.
        range_selector: u8,
        /// Bit `n` is the CPU with affinity level 0 `16 * range_selector + n`.
        target_list: u16,
    },
}

impl SgiWrite {
    /// Returns the value that sends SGI `number` when written to `ICC_SGI1R_EL1`.
    ///
    /// # Panics
    /// If `number` is none of ours, 0 to 7.
    pub const fn register(self, number: u8) -> u64 {
        assert!(
            (number as usize) < OUR_SGI_COUNT,
            "BUG: SGIs 8 to 15 are secure software's"
        );
        let intid = (number as u64) << 24;
        match self {
            SgiWrite::AllButSelf => 1 << 40 | intid,
            SgiWrite::List {
                aff3,
                aff2,
                aff1,
                range_selector,
                target_list,
            } => {
                (aff3 as u64) << 48
                    | (range_selector as u64) << 44
                    | (aff2 as u64) << 32
                    | intid
                    | (aff1 as u64) << 16
                    | target_list as u64
            }
        }
    }
}

/// Why a machine's CPUs can't be reached by SGI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FanOutError {
    /// The CPU's affinity level 0 is above 15 and the GIC has no range selector
    /// (GICD_TYPER.RSS is 0): no list can name it.
    RangeSelectorNeeded(Mpidr),
    /// Two CPUs are said to have this affinity.
    SameAffinity(Mpidr),
    /// The CPU was given twice.
    SameCpu(CpuId),
}

impl fmt::Display for FanOutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RangeSelectorNeeded(mpidr) => write!(
                f,
                "the GIC has no range selector, so no SGI list can name {mpidr}"
            ),
            Self::SameAffinity(mpidr) => write!(f, "two CPUs have the affinity {mpidr}"),
            Self::SameCpu(cpu) => write!(f, "CPU {cpu} was given twice"),
        }
    }
}

impl core::error::Error for FanOutError {}

/// The affinity bits that the CPUs of a group share. Groups are ordered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    aff3: u8,
    aff2: u8,
    aff1: u8,
    range_selector: u8,
}

/// The CPUs that one list write can name together.
#[derive(Debug)]
struct AffinityGroup {
    key: GroupKey,
    /// The CPU at each bit of the list.
    members: [Option<CpuId>; LIST_LEN],
}

/// Returns the group of an affinity, and its bit in the group's list.
fn place(mpidr: Mpidr) -> (GroupKey, usize) {
    let key = GroupKey {
        aff3: mpidr.aff(3),
        aff2: mpidr.aff(2),
        aff1: mpidr.aff(1),
        range_selector: mpidr.aff(0) >> 4,
    };
    (key, usize::from(mpidr.aff(0) & 0xf))
}

/// The groups and masks by which the CPUs of one machine are reached. Made once at
/// boot, never changed.
#[derive(Debug)]
pub struct FanOut {
    /// The groups, in rising order of their keys.
    groups: Vec<AffinityGroup>,
    /// The group of each CPU, by CPU number.
    places: Vec<Option<u16>>,
    /// Every CPU in `places`.
    reachable: CpuMask,
    /// Number of words of a mask that have a CPU in `reachable`.
    words: usize,
    /// Whether every CPU interface that the GIC has belongs to a CPU in `reachable`.
    interfaces_known: bool,
}

impl FanOut {
    /// Works out how to reach `cpus`. Allocates; for boot.
    ///
    /// * `cpus` — each CPU that has a CPU interface, with its affinity
    /// * `interfaces` — how many CPU interfaces (redistributors) the GIC has. If
    ///   that is more than `cpus`, a CPU that isn't ours listens too, and
    ///   all-but-self is never used
    /// * `range_selector` — whether the GIC takes affinity levels 0 above 15
    ///   (GICD_TYPER.RSS)
    ///
    /// # Errors
    /// [`FanOutError`] if a CPU can't be named by any write.
    pub fn new(
        cpus: impl IntoIterator<Item = (CpuId, Mpidr)>,
        interfaces: usize,
        range_selector: bool,
    ) -> Result<FanOut, FanOutError> {
        let mut groups: Vec<AffinityGroup> = Vec::new();
        let mut reachable = CpuMask::EMPTY;
        for (cpu, mpidr) in cpus {
            if mpidr.aff(0) > 15 && !range_selector {
                return Err(FanOutError::RangeSelectorNeeded(mpidr));
            }
            if reachable.contains(cpu) {
                return Err(FanOutError::SameCpu(cpu));
            }
            reachable.insert(cpu);
            let (key, bit) = place(mpidr);
            let at = match groups.binary_search_by_key(&key, |group| group.key) {
                Ok(at) => at,
                Err(at) => {
                    let members = [None; LIST_LEN];
                    groups.insert(at, AffinityGroup { key, members });
                    at
                }
            };
            if groups[at].members[bit].replace(cpu).is_some() {
                return Err(FanOutError::SameAffinity(mpidr));
            }
        }

        let mut places = Vec::new();
        let highest = reachable.iter().last();
        places.resize(highest.map_or(0, |cpu| cpu.index() + 1), None);
        for (at, group) in (0u16..).zip(&groups) {
            for cpu in group.members.iter().flatten() {
                places[cpu.index()] = Some(at);
            }
        }
        Ok(FanOut {
            groups,
            words: places.len().div_ceil(64),
            places,
            interfaces_known: reachable.count() == interfaces,
            reachable,
        })
    }

    /// Returns the CPU with this affinity, if it can be reached. A few comparisons.
    pub fn cpu_of(&self, mpidr: Mpidr) -> Option<CpuId> {
        let (key, bit) = place(mpidr);
        let at = self
            .groups
            .binary_search_by_key(&key, |group| group.key)
            .ok()?;
        self.groups[at].members[bit]
    }

    /// Returns the write that sends an SGI to `cpu` only, whichever CPU sends it, or
    /// `None` if `cpu` has no CPU interface.
    pub fn write_to(&self, cpu: CpuId) -> Option<SgiWrite> {
        let just_this = Lists {
            fan_out: self,
            left: *CpuMask::of(cpu).and(&self.reachable).bits(),
            word: 0,
        };
        just_this.last()
    }

    /// Returns whether one all-but-self write from `me` reaches exactly `targets`.
    #[inline]
    pub fn is_all_but_self(&self, me: CpuId, targets: &CpuMask) -> bool {
        self.interfaces_known && !targets.contains(me) && self.are_all_others(me, targets)
    }

    /// Returns the writes that send one SGI from `me` to each CPU in `targets` once,
    /// and to no other CPU. `me` may be a target. A target without a CPU interface is
    /// left out: it can't be online.
    ///
    /// * exactly all interfaces but the sender's: one all-but-self write
    /// * all interfaces and the sender: one list if they share a group, else
    ///   all-but-self and a list for the sender alone
    /// * otherwise one list for each group with a target in it
    pub fn writes(&self, me: CpuId, targets: &CpuMask) -> impl Iterator<Item = SgiWrite> + '_ {
        // A single group is one list, with or without the sender.
        let saves = !targets.contains(me) || self.groups.len() > 1;
        let all = saves && self.interfaces_known && self.are_all_others(me, targets);
        let all_but_self = all.then_some(SgiWrite::AllButSelf);
        let mut left = [0; MASK_WORDS];
        let reachable = self.reachable.bits().iter().zip(targets.bits());
        for (left, (reachable, targets)) in left.iter_mut().zip(reachable).take(self.words) {
            *left = if all { 0 } else { reachable & targets };
        }
        // The all-but-self write leaves the sender out (all-but-self-is-exact).
        if all && targets.contains(me) {
            left[me.index() / 64] = 1 << (me.index() % 64);
        }
        let lists = Lists {
            fan_out: self,
            left,
            word: 0,
        };
        all_but_self.into_iter().chain(lists)
    }

    /// Returns whether `targets` contains every reachable CPU but `me`, if `me` is
    /// reachable and there is another reachable CPU.
    fn are_all_others(&self, me: CpuId, targets: &CpuMask) -> bool {
        let mut any = 0;
        let mut missing = 0;
        let words = self.reachable.bits().iter().zip(targets.bits());
        for (word, (reachable, targets)) in words.enumerate().take(self.words) {
            let myself = u64::from(word == me.index() / 64) << (me.index() % 64);
            any |= reachable & !myself;
            missing |= reachable & !myself & !targets;
        }
        any != 0 && missing == 0 && self.reachable.contains(me)
    }
}

/// An iterator that removes the remaining targets from their mask, a group at a time.
struct Lists<'a> {
    fan_out: &'a FanOut,
    /// The targets that no list has named yet, all of them reachable.
    left: Bits,
    /// The words of `left` before this one are empty.
    word: usize,
}

impl Lists<'_> {
    /// Removes `cpu` from the remaining targets. Returns whether it was one of them.
    fn take(&mut self, cpu: CpuId) -> bool {
        let bit = 1 << (cpu.index() % 64);
        let word = &mut self.left[cpu.index() / 64];
        let was_in = *word & bit != 0;
        *word &= !bit;
        was_in
    }
}

impl Iterator for Lists<'_> {
    type Item = SgiWrite;

    fn next(&mut self) -> Option<SgiWrite> {
        while *self.left.get(self.word)? == 0 {
            self.word += 1;
            if self.word >= self.fan_out.words {
                return None;
            }
        }
        let first = self.word * 64 + self.left[self.word].trailing_zeros() as usize;
        let fan_out = self.fan_out;
        // In `places` because only reachable CPUs are left (tables-agree).
        let at = fan_out.places.get(first).copied().flatten()?;
        let group = &fan_out.groups[usize::from(at)];
        let mut target_list = 0;
        for (bit, cpu) in group.members.iter().enumerate() {
            if cpu.is_some_and(|cpu| self.take(cpu)) {
                target_list |= 1 << bit;
            }
        }
        // These fields are the same for each CPU of the group (group-by-affinity).
        Some(SgiWrite::List {
            aff3: group.key.aff3,
            aff2: group.key.aff2,
            aff1: group.key.aff1,
            range_selector: group.key.range_selector,
            target_list,
        })
    }
}

const _: () = assert!(MAX_CPUS <= u16::MAX as usize, "a group's index fits a u16");

#[cfg(test)]
mod tests;
