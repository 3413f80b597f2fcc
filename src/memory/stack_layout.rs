//! Where the stacks lie. Each stack has a guard page below it.
//!
//! ```text
//!  a piece                                                     its end
//!  | guard 0 | stack 0 ........ | guard 1 | stack 1 ........ | ...
//!    never     bottom ----> top
//!    mapped
//! ```
//!
//! The guards are permanent: they are left out of the address map when it is built. So
//! taking and freeing a stack changes no mapping and needs no TLB maintenance. The guard
//! lies below the stack because stacks grow down. A thread that overflows its stack writes
//! into the guard, and the fault handler can tell whose stack it was.
//!
//! The stacks of many CPUs may need more memory than is free in one piece: a loader puts the
//! device tree into the middle of a small machine's RAM. So a layout has several pieces, and
//! numbers the stacks through.

use core::fmt;
use core::ops::Range;

use super::{MemoryPlan, bytes};
use crate::config::{
    FIRST_STACKS, MAX_CPUS, MOST_ORDINARY_STACKS, ORDINARY_STACKS, PAGE_SIZE, STACK_SIZE,
    STACKS_PER_CPU, STACKS_SHARE,
};

/// How many stacks a layout has at most.
pub(super) const MAX_STACKS: usize = MAX_CPUS * STACKS_PER_CPU + MOST_ORDINARY_STACKS;
/// In how many pieces of memory the stacks may lie.
pub(super) const MAX_PIECES: usize = 8;
/// Size of a guard and the stack above it, in bytes.
const SLOT_SIZE: usize = PAGE_SIZE + STACK_SIZE;

/// Stacks with their guards in one piece of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Piece {
    /// Address of the first guard.
    base: usize,
    /// How many stacks there are.
    count: usize,
}

impl Piece {
    const fn range(&self) -> Range<usize> {
        self.base..self.base + self.count * SLOT_SIZE
    }
}

/// The places of all stacks. It never changes, is `Copy` and needs no lock, so a fault handler
/// can use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackLayout {
    /// The pieces in the order of their stacks' numbers. The last ones may be empty.
    pieces: [Piece; MAX_PIECES],
}

impl StackLayout {
    /// Returns the size of the memory that `count` stacks need, in bytes.
    pub const fn bytes_for(count: usize) -> usize {
        count * SLOT_SIZE
    }

    /// Returns how many stacks a machine of `cpus` CPUs has whose free memory is `memory` bytes:
    /// those of the CPUs and the first threads in any case, and for ordinary threads
    /// [`ORDINARY_STACKS`], or as many as fit one of [`STACKS_SHARE`] parts of memory, unless all
    /// together were more than a quarter of it.
    pub fn count_for(cpus: usize, memory: u64) -> usize {
        let fit = |memory: u64| usize::try_from(memory / SLOT_SIZE as u64).unwrap_or(usize::MAX);
        let own = cpus * STACKS_PER_CPU;
        let ordinary = fit(memory / STACKS_SHARE).clamp(ORDINARY_STACKS, MOST_ORDINARY_STACKS);
        (own + ordinary)
            .min(fit(memory / 4))
            .max(own + FIRST_STACKS)
    }

    /// Takes memory for `count` stacks from `plan`, but at most for [`MAX_CPUS`] times
    /// [`STACKS_PER_CPU`] plus [`MOST_ORDINARY_STACKS`], and returns their layout. It is one piece
    /// if the largest free range has room for it, else it fills the largest ranges, one after
    /// the other. `None` if the largest 8 haven't enough room; some of the memory is gone from
    /// the plan then.
    pub fn take(plan: &mut MemoryPlan, count: usize) -> Option<StackLayout> {
        let mut pieces = [Piece::default(); MAX_PIECES];
        let mut left = count.min(MAX_STACKS);
        for piece in &mut pieces {
            let fit = usize::try_from(plan.largest() / SLOT_SIZE as u64).unwrap_or(usize::MAX);
            let count = left.min(fit);
            if count == 0 {
                break;
            }
            let memory = plan.take(Self::bytes_for(count) as u64, PAGE_SIZE as u64)?;
            let base = bytes(&memory).start;
            *piece = Piece { base, count };
            left -= count;
        }
        (left == 0).then_some(StackLayout { pieces })
    }

    /// Returns the addresses of all stacks and guards: a range for each piece.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let pieces = self.pieces.into_iter();
        pieces.filter(|p| p.count != 0).map(|p| p.range())
    }

    /// Returns how many stacks there are.
    pub fn count(&self) -> usize {
        self.pieces.iter().map(|piece| piece.count).sum()
    }

    /// Returns the addresses of the guard pages, which the address map leaves out.
    pub fn guards(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let slots = self.ranges().flat_map(|range| range.step_by(SLOT_SIZE));
        slots.map(|guard| guard..guard + PAGE_SIZE)
    }

    /// Returns the stack that `address` is in or whose guard it is in; `None` if it is
    /// neither in a stack nor in a guard.
    pub fn locate(&self, address: usize) -> Option<StackPlace> {
        let mut first = 0;
        for piece in &self.pieces {
            if piece.range().contains(&address) {
                let offset = address - piece.base;
                return Some(StackPlace {
                    index: first + offset / SLOT_SIZE,
                    part: if offset % SLOT_SIZE < PAGE_SIZE {
                        StackPart::Guard
                    } else {
                        StackPart::Stack
                    },
                });
            }
            first += piece.count;
        }
        None
    }

    /// Returns the lowest address of stack `index`, or `None` if there is no such stack.
    pub(super) fn bottom(&self, index: usize) -> Option<usize> {
        let mut left = index;
        for piece in &self.pieces {
            if left < piece.count {
                return Some(piece.base + left * SLOT_SIZE + PAGE_SIZE);
            }
            left -= piece.count;
        }
        None
    }
}

/// The part of a layout that an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackPart {
    /// The guard page. If it was accessed, the stack above it has overflowed.
    Guard,
    /// The stack itself.
    Stack,
}

/// A place in a layout. It prints as, for example, `the guard page of stack 7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackPlace {
    /// The number of the stack.
    pub index: usize,
    /// Whether it is the stack or its guard.
    pub part: StackPart,
}

impl fmt::Display for StackPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            StackPart::Guard => write!(f, "the guard page of stack {}", self.index),
            StackPart::Stack => write!(f, "in stack {}", self.index),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    const BASE: u64 = 0x4100_0000;
    const SLOT: u64 = SLOT_SIZE as u64;

    /// Returns a plan whose ranges have room for as many stacks as `rooms` says, and for
    /// another page, each at a multiple of 16 MiB.
    fn plan(rooms: &[u64]) -> MemoryPlan {
        let ranges = rooms.iter().zip(0..).map(|(room, index)| {
            let start = BASE + index * 0x100_0000;
            start..start + room * SLOT + PAGE_SIZE as u64
        });
        MemoryPlan::new(ranges, [])
    }

    /// Checks that each address of the stacks and of the guards has its place, and the
    /// addresses around the pieces none.
    fn assert_places(layout: &StackLayout) {
        let guards: Vec<_> = layout.guards().collect();
        assert_eq!(guards.len(), layout.count());
        for (index, guard) in guards.iter().enumerate() {
            let bottom = layout.bottom(index).unwrap();
            assert_eq!(guard.end, bottom);
            for (address, part) in [
                (guard.start, StackPart::Guard),
                (guard.end - 1, StackPart::Guard),
                (bottom, StackPart::Stack),
                (bottom + STACK_SIZE - 1, StackPart::Stack),
            ] {
                assert_eq!(layout.locate(address), Some(StackPlace { index, part }));
            }
        }
        assert_eq!(layout.bottom(guards.len()), None);
        for range in layout.ranges() {
            assert_eq!(layout.locate(range.start - 1), None);
            assert_eq!(layout.locate(range.end), None);
        }
    }

    #[test]
    fn every_address_has_one_place() {
        let layout = StackLayout::take(&mut plan(&[3]), 3).unwrap();
        assert_places(&layout);
        let place = layout.locate(0x4100_0000).unwrap();
        assert_eq!(place.to_string(), "the guard page of stack 0");
        let top = layout.locate(0x4100_0000 + 3 * SLOT_SIZE - 1).unwrap();
        assert_eq!(top.to_string(), "in stack 2");
    }

    #[test]
    fn stacks_that_fit_one_range_lie_in_the_largest() {
        let mut plan = plan(&[4, 9, 5]);
        let layout = StackLayout::take(&mut plan, 9).unwrap();
        let all = 0x4200_0000..0x4200_0000 + 9 * SLOT_SIZE;
        assert!(layout.ranges().eq(core::iter::once(all)));
        assert_eq!(plan.total(), 9 * SLOT + 3 * PAGE_SIZE as u64);
    }

    #[test]
    fn stacks_that_fit_no_range_lie_in_several() {
        let mut plan = plan(&[2, 9, 5]);
        let before = plan.total();
        let layout = StackLayout::take(&mut plan, 15).unwrap();
        let counts: Vec<_> = layout
            .ranges()
            .map(|range| range.len() / SLOT_SIZE)
            .collect();
        assert_eq!((layout.count(), counts), (15, [9, 5, 1].into()));
        assert_places(&layout);
        assert_eq!(before - plan.total(), 15 * SLOT);
        // No page was given out twice.
        let free = |address: usize| plan.free().any(|range| bytes(&range).contains(&address));
        assert!(
            !layout
                .ranges()
                .any(|range| free(range.start) || free(range.end - 1))
        );
    }

    #[test]
    fn there_is_no_layout_without_the_memory() {
        assert_eq!(StackLayout::take(&mut plan(&[2, 9, 5]), 17), None);
        assert_eq!(StackLayout::take(&mut plan(&[1; 8]), 8).unwrap().count(), 8);
        assert_eq!(StackLayout::take(&mut plan(&[1; 9]), 9), None);
        assert_eq!(StackLayout::take(&mut plan(&[]), 1), None);
    }

    #[test]
    fn more_memory_has_more_stacks() {
        const MIB: u64 = 1 << 20;
        let ordinary = |cpus: usize, mib| {
            let count = StackLayout::count_for(cpus, mib * MIB);
            count - cpus * STACKS_PER_CPU
        };
        // As much as is needed, whether it is there or not; then a quarter of memory.
        assert_eq!(ordinary(64, 0), FIRST_STACKS);
        assert_eq!(ordinary(64, 16), FIRST_STACKS);
        assert_eq!(ordinary(64, 32), 25);
        assert_eq!(ordinary(1, 16), 198);
        assert_eq!(ordinary(4, 64), ORDINARY_STACKS);
        assert_eq!(ordinary(4, 256), ORDINARY_STACKS);
        assert_eq!(ordinary(4, 1024), 1638);
        assert_eq!(ordinary(512, 1024), 1638);
        assert_eq!(ordinary(4, 4096), MOST_ORDINARY_STACKS);
        assert_eq!(ordinary(512, 1 << 20), MOST_ORDINARY_STACKS);
    }

    #[test]
    fn a_layout_has_no_more_stacks_than_the_pool_can_count() {
        let mut plan = MemoryPlan::new(Some(BASE..BASE + 8000 * SLOT), []);
        let layout = StackLayout::take(&mut plan, MAX_STACKS + 1).unwrap();
        assert_eq!(layout.count(), MAX_STACKS);
        assert_eq!(plan.total(), (8000 - MAX_STACKS as u64) * SLOT);
    }
}
