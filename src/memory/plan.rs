//! The free memory: RAM without the reserved ranges.
//!
//! The boot code makes the plan from the device tree, before there is a heap. Page tables,
//! stacks and the heap are taken from it. The device tree's ranges come in any order, may
//! overlap or touch, and may end inside pages. The plan makes sorted, separate ranges of
//! whole pages from them.
//!
//! # Invariants
//! - **spans-are-separate**: the spans are sorted, not empty, and neither overlap nor touch.
//! - **spans-are-free-pages**: once [`MemoryPlan::new`] has returned, every span is made of
//!   whole pages. Each of these is RAM to its last byte and has no reserved byte.
//! - **page-zero-is-reserved**: no span has the page at address 0, so no pointer to memory
//!   of the plan is null.
#![forbid(unsafe_code)]

use core::ops::Range;

use crate::config::PAGE_SIZE;

/// How many ranges of free memory are kept at most. If there are more, the smallest ones
/// are left out.
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

    /// Returns the whole pages inside this span.
    fn inwards(self) -> Span {
        Span {
            // A start in the last page has no page behind it, and makes an empty span.
            start: self
                .start
                .checked_next_multiple_of(PAGE)
                .unwrap_or(u64::MAX),
            end: self.end & !(PAGE - 1),
        }
    }

    /// Returns the span of all pages that have a byte of this one. The end is `u64::MAX` if
    /// it can't be rounded up: every whole page ends before that.
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
    /// The spans, of which the first `count` are valid (spans-are-separate). While a change
    /// is made there may be one more than [`MAX_RANGES`].
    spans: [Span; MAX_RANGES + 1],
    count: usize,
    /// How many bytes were left out with the smallest ranges.
    left_out: u64,
}

impl MemoryPlan {
    /// Returns the plan of all pages that lie wholly in `ram`, have no byte in `reserved`,
    /// and are not page 0 (spans-are-free-pages, page-zero-is-reserved).
    ///
    /// The ranges of both may come in any order, overlap, touch or be empty. Whenever there
    /// are more than [`MAX_RANGES`] ranges, also before all of `reserved` has been taken
    /// out, the smallest one is left out.
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
        // Only after all ranges were added: several of them may cover a page together.
        plan.cut_to_pages();
        plan.reserve(0..PAGE);
        for range in reserved {
            plan.reserve(range);
        }
        plan
    }

    /// Removes every page that has a byte of `range` from the plan. If there are then more
    /// than [`MAX_RANGES`] ranges, the smallest one is left out.
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

    /// Removes `size` bytes, rounded up to pages, from the plan, and returns their range,
    /// which begins at a multiple of `align` bytes. It is the lowest such place in the
    /// largest range that has one, so that memory is not split into more small ranges than
    /// necessary. `None` if no range has such a place, or if `size` is 0. As
    /// [`MemoryPlan::reserve`], this may leave out the smallest range.
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
        // Of several largest ranges `max_by_key` returns the last, and the lowest is wanted.
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

    /// Returns the size of the free memory, in bytes.
    pub fn total(&self) -> u64 {
        self.spans().iter().map(|span| span.end - span.start).sum()
    }

    /// Returns the size of the largest free range, in bytes.
    pub fn largest(&self) -> u64 {
        let sizes = self.spans().iter().map(|span| span.end - span.start);
        sizes.max().unwrap_or(0)
    }

    /// Returns the size of the free memory that was left out because there were too many
    /// ranges, in bytes.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn spans(&self) -> &[Span] {
        &self.spans[..self.count]
    }

    /// Adds `span`, and joins it with all spans that it overlaps or touches
    /// (spans-are-separate).
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

    /// Cuts every span to the whole pages inside it.
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

    /// Replaces the spans `old` by `with`, which is at most one span longer. If there are
    /// then more than [`MAX_RANGES`], leaves out the smallest one.
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
