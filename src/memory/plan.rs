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

use core::ops::Range;

use crate::config::PAGE_SIZE;

/// The most ranges that are kept of free memory. Where it falls apart into more, the
/// smallest are left out.
pub const MAX_RANGES: usize = 64;

const PAGE: u64 = PAGE_SIZE as u64;

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
    /// With room for one more than are kept, while a change is made.
    spans: [Span; MAX_RANGES + 1],
    count: usize,
    left_out: u64,
}

impl MemoryPlan {
    /// Returns all pages that lie wholly in `ram` and have no byte in `reserved` or in
    /// page 0. Both may have ranges of any order, that overlap, touch or are empty. Of
    /// what would be more than [`MAX_RANGES`] ranges, also if only `ram` or a part of
    /// `reserved` makes so many, the smallest are left out.
    pub fn new(
        ram: impl IntoIterator<Item = Range<u64>>,
        reserved: impl IntoIterator<Item = Range<u64>>,
    ) -> MemoryPlan {
        let mut plan = MemoryPlan {
            spans: [Span::default(); MAX_RANGES + 1],
            count: 0,
            left_out: 0,
        };
        for range in ram {
            plan.add(range.into());
        }
        // Only now: a page may be covered by several ranges together.
        plan.cut_to_pages();
        plan.reserve(0..PAGE);
        for range in reserved {
            plan.reserve(range);
        }
        plan
    }

    /// Takes every page that `range` has a byte of out of the plan, if it is
    /// in there. Where that makes more than [`MAX_RANGES`] ranges, the smallest is left
    /// out.
    pub fn reserve(&mut self, range: Range<u64>) {
        let span = Span::from(range);
        if span.is_empty() {
            return;
        }
        let gone = span.outwards();
        let from = self.spans().partition_point(|s| s.end <= gone.start);
        let to = self.spans().partition_point(|s| s.start < gone.end);
        if from == to {
            return;
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
    /// one, so that small ranges don't break up first. `None` if none has, or if
    /// `size` is 0. As [`MemoryPlan::reserve`], it may leave the smallest range out.
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
        self.reserve(range.clone());
        Some(range)
    }

    /// Returns the free ranges in rising order, whole pages each, with a gap between any
    /// two.
    pub fn free(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.spans().iter().map(|span| span.start..span.end)
    }

    /// Free memory, in bytes.
    pub fn total(&self) -> u64 {
        self.spans().iter().map(|span| span.end - span.start).sum()
    }

    /// Free memory that was left out because it fell apart into too many ranges, in
    /// bytes.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn spans(&self) -> &[Span] {
        &self.spans[..self.count]
    }

    /// Adds `span`, which becomes one with all that it overlaps or touches.
    fn add(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        let from = self.spans().partition_point(|s| s.end < span.start);
        let to = self.spans().partition_point(|s| s.start <= span.end);
        let joined = self.spans[from..to].iter().fold(span, |all, s| Span {
            start: all.start.min(s.start),
            end: all.end.max(s.end),
        });
        self.splice(from..to, &[joined]);
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

    /// Puts `with` where the spans `old` are, of which it is one more at most. If that
    /// makes one too many, leaves the smallest out.
    fn splice(&mut self, old: Range<usize>, with: &[Span]) {
        let count = self.count - old.len() + with.len();
        let behind = old.start + with.len();
        self.spans.copy_within(old.end..self.count, behind);
        self.spans[old.start..behind].copy_from_slice(with);
        self.count = count;
        if count > MAX_RANGES {
            self.leave_smallest_out();
        }
    }

    fn leave_smallest_out(&mut self) {
        let size = |span: &Span| span.end - span.start;
        let sizes = self.spans().iter().map(size).enumerate();
        if let Some((index, size)) = sizes.min_by_key(|(_, size)| *size) {
            self.left_out += size;
            self.splice(index..index + 1, &[]);
        }
    }
}

#[cfg(test)]
mod tests;
