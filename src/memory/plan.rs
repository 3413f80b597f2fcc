//! Which memory is free: RAM without all that is reserved.
//!
//! Made at boot from the device tree, before there is a heap: the first pieces
//! of it become page tables, stacks and the heap. The device tree's ranges come
//! in any order, overlap, touch, and end inside pages; all of that is gone once
//! they are a set of spans.
//!
//! # Invariants
//! 1. The spans are sorted, not empty, and neither overlap nor touch.
//! 2. Once [`MemoryPlan::new`] has returned, they are whole pages, each of
//!    which is RAM to its last byte and has no reserved byte.
//! 3. The page at address 0 is in none of them: no pointer to memory from here
//!    is null.
#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Range;

use crate::config::PAGE_SIZE;

/// The most ranges that free memory may fall apart into.
pub const MAX_RANGES: usize = 64;

const PAGE: u64 = PAGE_SIZE as u64;

/// Why memory can't be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// Free memory falls apart into more than [`MAX_RANGES`] ranges.
    TooManyRanges,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRanges => write!(f, "more than {MAX_RANGES} ranges of free memory"),
        }
    }
}

impl core::error::Error for PlanError {}

/// The addresses from `start` to before `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u64,
    end: u64,
}

impl Span {
    const fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Cut to whole pages.
    fn inwards(self) -> Span {
        Span {
            // Without a page behind it, the start is the end of all pages.
            start: self
                .start
                .checked_next_multiple_of(PAGE)
                .unwrap_or(u64::MAX),
            end: self.end & !(PAGE - 1),
        }
    }

    /// Grown to whole pages. No page ends at or behind `u64::MAX`, so the end
    /// may stop there.
    fn outwards(self) -> Span {
        Span {
            start: self.start & !(PAGE - 1),
            end: self.end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX),
        }
    }
}

impl From<Range<u64>> for Span {
    fn from(range: Range<u64>) -> Span {
        Span {
            start: range.start,
            end: range.end,
        }
    }
}

/// The free memory, in ranges of whole pages.
#[derive(Clone, Debug)]
pub struct MemoryPlan {
    spans: [Span; MAX_RANGES],
    count: usize,
}

impl MemoryPlan {
    /// All pages that lie wholly in `ram` and have no byte in `reserved` or in
    /// page 0. Both may have ranges of any order, that overlap, touch or are
    /// empty.
    ///
    /// # Errors
    /// [`PlanError::TooManyRanges`], also if only `ram` or a part of `reserved`
    /// makes so many.
    pub fn new(
        ram: impl IntoIterator<Item = Range<u64>>,
        reserved: impl IntoIterator<Item = Range<u64>>,
    ) -> Result<MemoryPlan, PlanError> {
        let mut plan = MemoryPlan {
            spans: [Span::default(); MAX_RANGES],
            count: 0,
        };
        for range in ram {
            plan.add(range.into())?;
        }
        // Only now: a page may be covered by several ranges together.
        plan.cut_to_pages();
        plan.reserve(0..PAGE)?;
        for range in reserved {
            plan.reserve(range)?;
        }
        Ok(plan)
    }

    /// Takes every page that `range` has a byte of out of the plan, if it is
    /// in there.
    ///
    /// # Errors
    /// [`PlanError::TooManyRanges`]; then nothing has changed.
    pub fn reserve(&mut self, range: Range<u64>) -> Result<(), PlanError> {
        let span = Span::from(range);
        if span.is_empty() {
            return Ok(());
        }
        let gone = span.outwards();
        let from = self.spans().partition_point(|s| s.end <= gone.start);
        let to = self.spans().partition_point(|s| s.start < gone.end);
        if from == to {
            return Ok(());
        }
        let left = Span {
            start: self.spans[from].start,
            end: gone.start,
        };
        let right = Span {
            start: gone.end,
            end: self.spans[to - 1].end,
        };
        match (left.is_empty(), right.is_empty()) {
            (true, true) => self.splice(from..to, &[]),
            (false, true) => self.splice(from..to, &[left]),
            (true, false) => self.splice(from..to, &[right]),
            (false, false) => self.splice(from..to, &[left, right]),
        }
    }

    /// Takes `size` bytes, rounded up to pages, out of the plan, at a multiple
    /// of `align` bytes: the lowest such place in the largest range that has
    /// one, so that small ranges don't break up first. `None` if none has, if
    /// `size` is 0, or if what is left would be more than [`MAX_RANGES`]
    /// ranges.
    ///
    /// # Panics
    /// If `align` isn't a power of two.
    pub fn take(&mut self, size: u64, align: u64) -> Option<Range<u64>> {
        assert!(align.is_power_of_two(), "BUG: {align} is no alignment");
        if size == 0 {
            return None;
        }
        let size = size.checked_next_multiple_of(PAGE)?;
        let place = |span: &Span| {
            let start = span.start.checked_next_multiple_of(align.max(PAGE))?;
            let end = start.checked_add(size)?;
            (end <= span.end).then_some((span.end - span.start, start..end))
        };
        // Of ranges of one size the first: `max_by_key` alone takes the last.
        let (_, range) = self
            .spans()
            .iter()
            .rev()
            .filter_map(place)
            .max_by_key(|(room, _)| *room)?;
        self.reserve(range.clone()).ok()?;
        Some(range)
    }

    /// The free ranges in rising order, whole pages each, with a gap between
    /// any two.
    pub fn free(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.spans().iter().map(|span| span.start..span.end)
    }

    /// Free memory, in bytes.
    pub fn total(&self) -> u64 {
        self.spans().iter().map(|span| span.end - span.start).sum()
    }

    fn spans(&self) -> &[Span] {
        &self.spans[..self.count]
    }

    /// Adds `span`, which becomes one with all that it overlaps or touches.
    fn add(&mut self, span: Span) -> Result<(), PlanError> {
        if span.is_empty() {
            return Ok(());
        }
        let from = self.spans().partition_point(|s| s.end < span.start);
        let to = self.spans().partition_point(|s| s.start <= span.end);
        let joined = self.spans[from..to].iter().fold(span, |all, s| Span {
            start: all.start.min(s.start),
            end: all.end.max(s.end),
        });
        self.splice(from..to, &[joined])
    }

    fn cut_to_pages(&mut self) {
        let mut kept = 0;
        for index in 0..self.count {
            let span = self.spans[index].inwards();
            if !span.is_empty() {
                self.spans[kept] = span;
                kept += 1;
            }
        }
        self.count = kept;
    }

    /// Puts `with` where the spans `old` are, or changes nothing.
    fn splice(&mut self, old: Range<usize>, with: &[Span]) -> Result<(), PlanError> {
        let count = self.count - old.len() + with.len();
        if count > MAX_RANGES {
            return Err(PlanError::TooManyRanges);
        }
        let behind = old.start + with.len();
        self.spans.copy_within(old.end..self.count, behind);
        self.spans[old.start..behind].copy_from_slice(with);
        self.count = count;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // One range is meant.
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    /// Ranges of the property test begin and end at multiples of this.
    const GRAIN: u64 = 512;
    const PAGES: usize = 48;

    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }

        /// Some ranges, often on page borders, often overlapping or touching.
        fn ranges(&mut self, most: u64, longest: u64) -> Vec<Range<u64>> {
            let grains = PAGES as u64 * PAGE / GRAIN;
            (0..self.below(most + 1))
                .map(|_| {
                    let unit = if self.below(2) == 0 { 1 } else { PAGE / GRAIN };
                    let start = self.below(grains) / unit * unit;
                    let end = (start + self.below(longest) / unit * unit).min(grains);
                    start * GRAIN..end * GRAIN
                })
                .collect()
        }
    }

    /// Page by page: is it free?
    fn model(ram: &[Range<u64>], reserved: &[Range<u64>]) -> Vec<bool> {
        let covers = |ranges: &[Range<u64>], at: u64| ranges.iter().any(|r| r.contains(&at));
        (0..PAGES as u64)
            .map(|page| {
                let mut grains = (0..PAGE / GRAIN).map(|grain| page * PAGE + grain * GRAIN);
                page != 0 && grains.all(|at| covers(ram, at) && !covers(reserved, at))
            })
            .collect()
    }

    fn pages_of(plan: &MemoryPlan) -> Vec<bool> {
        (0..PAGES as u64)
            .map(|page| plan.free().any(|range| range.contains(&(page * PAGE))))
            .collect()
    }

    fn assert_invariants(plan: &MemoryPlan) {
        let free: Vec<_> = plan.free().collect();
        assert!(free.iter().all(|r| r.start < r.end && r.start >= PAGE));
        assert!(
            free.iter()
                .all(|r| r.start % PAGE == 0 && r.end % PAGE == 0)
        );
        assert!(free.windows(2).all(|pair| pair[0].end < pair[1].start));
    }

    #[test]
    fn agrees_with_a_model_of_single_pages() {
        let mut random = Random(0x5717_1901_0e57);
        for _ in 0..4000 {
            let ram = random.ranges(6, 200);
            let reserved = random.ranges(8, 60);
            let mut plan = MemoryPlan::new(ram.clone(), reserved.clone()).unwrap();
            let mut pages = model(&ram, &reserved);
            loop {
                assert_invariants(&plan);
                assert_eq!(pages_of(&plan), pages);
                let free = pages.iter().filter(|free| **free).count() as u64;
                assert_eq!(plan.total(), free * PAGE);
                let size = 1 + random.below(4 * PAGE);
                let align = 1 << random.below(15);
                let fits = |r: &Range<u64>| {
                    let start = r.start.next_multiple_of(align.max(PAGE));
                    start + size <= r.end
                };
                let largest = plan.free().filter(fits).map(|r| r.end - r.start).max();
                let before: Vec<_> = plan.free().collect();
                let Some(got) = plan.take(size, align) else {
                    assert_eq!(largest, None);
                    break;
                };
                let from = before.iter().find(|r| r.contains(&got.start)).unwrap();
                assert_eq!(Some(from.end - from.start), largest);
                assert_eq!(got.start % align, 0);
                assert_eq!(got.end - got.start, size.next_multiple_of(PAGE));
                for at in got.step_by(PAGE_SIZE) {
                    let page = usize::try_from(at / PAGE).unwrap();
                    assert!(
                        core::mem::take(&mut pages[page]),
                        "page {page} was not free"
                    );
                }
            }
        }
    }

    #[test]
    fn one_byte_decides_about_a_page() {
        let plan = MemoryPlan::new([PAGE + 1..4 * PAGE - 1], []).unwrap();
        assert_eq!(plan.free().collect::<Vec<_>>(), [2 * PAGE..3 * PAGE]);
        let halves = [2 * PAGE..2 * PAGE + 7, 2 * PAGE + 7..3 * PAGE];
        let plan = MemoryPlan::new(halves, []).unwrap();
        assert_eq!(plan.total(), PAGE);
        let last_byte = [3 * PAGE - 1..3 * PAGE];
        let plan = MemoryPlan::new([2 * PAGE..4 * PAGE], last_byte).unwrap();
        assert_eq!(plan.free().collect::<Vec<_>>(), [3 * PAGE..4 * PAGE]);
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)] // Such input is ignored.
    fn the_ends_of_the_address_space_are_safe() {
        let top = !(PAGE - 1);
        let mut plan = MemoryPlan::new([0..u64::MAX], [u64::MAX - 1..u64::MAX]).unwrap();
        assert_eq!(plan.free().collect::<Vec<_>>(), [PAGE..top]);
        assert_eq!(plan.take(u64::MAX, 1), None);
        assert_eq!(plan.take(PAGE, 1 << 63), Some(1 << 63..(1 << 63) + PAGE));
        assert_eq!(plan.take(PAGE, 1 << 63), None);
        let nothing = MemoryPlan::new([u64::MAX - 9..u64::MAX, 9..3, 7..7], [8..2]).unwrap();
        assert_eq!(nothing.total(), 0);
    }

    #[test]
    fn too_many_ranges_are_refused_and_change_nothing() {
        let island = |index: usize| {
            let start = (2 * index as u64 + 1) * PAGE;
            start..start + PAGE
        };
        let full = MemoryPlan::new((0..MAX_RANGES).map(island), []).unwrap();
        assert_eq!(full.free().count(), MAX_RANGES);
        let error = MemoryPlan::new((0..=MAX_RANGES).map(island), []).unwrap_err();
        assert_eq!(error, PlanError::TooManyRanges);
        let mut plan = MemoryPlan::new((1..MAX_RANGES).map(island), []).unwrap();
        plan.add((1000 * PAGE..1005 * PAGE).into()).unwrap();
        let total = plan.total();
        let middle = 1002 * PAGE..1003 * PAGE;
        assert_eq!(plan.reserve(middle), Err(PlanError::TooManyRanges));
        assert_eq!(plan.total(), total);
        assert!(plan.take(PAGE, 4 * PAGE).is_some(), "at the range's start");
    }

    #[test]
    fn of_equal_ranges_the_lowest_is_taken() {
        let mut plan = MemoryPlan::new([PAGE..3 * PAGE, 8 * PAGE..10 * PAGE], []).unwrap();
        assert_eq!(plan.take(1, 1), Some(PAGE..2 * PAGE));
        assert_eq!(plan.take(0, 1), None);
    }
}
