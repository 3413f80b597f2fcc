//! The plan against a model of single pages, and at the limits of addresses and ranges.
#![allow(clippy::single_range_in_vec_init)] // One range is meant.

extern crate std;
use super::*;
use std::vec::Vec;

/// Ranges of the property test begin and end at multiples of this, in bytes.
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

    /// Returns up to `most` ranges. Many begin at a page boundary, overlap or touch.
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

/// Returns whether each page is free.
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
    // Under Miri a round takes a second.
    let rounds = if cfg!(miri) { 20 } else { 4000 };
    for _ in 0..rounds {
        let ram = random.ranges(6, 200);
        let reserved = random.ranges(8, 60);
        let mut plan = MemoryPlan::new(ram.clone(), reserved.clone());
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
    let plan = MemoryPlan::new([PAGE + 1..4 * PAGE - 1], []);
    assert_eq!(plan.free().collect::<Vec<_>>(), [2 * PAGE..3 * PAGE]);
    let halves = [2 * PAGE..2 * PAGE + 7, 2 * PAGE + 7..3 * PAGE];
    let plan = MemoryPlan::new(halves, []);
    assert_eq!(plan.total(), PAGE);
    let last_byte = [3 * PAGE - 1..3 * PAGE];
    let plan = MemoryPlan::new([2 * PAGE..4 * PAGE], last_byte);
    assert_eq!(plan.free().collect::<Vec<_>>(), [3 * PAGE..4 * PAGE]);
}

#[test]
#[allow(clippy::reversed_empty_ranges)] // Such input is ignored.
fn the_ends_of_the_address_space_are_safe() {
    let top = !(PAGE - 1);
    let mut plan = MemoryPlan::new([0..u64::MAX], [u64::MAX - 1..u64::MAX]);
    assert_eq!(plan.free().collect::<Vec<_>>(), [PAGE..top]);
    assert_eq!(plan.take(u64::MAX, 1), None);
    assert_eq!(plan.take(PAGE, 1 << 63), Some(1 << 63..(1 << 63) + PAGE));
    assert_eq!(plan.take(PAGE, 1 << 63), None);
    let nothing = MemoryPlan::new([u64::MAX - 9..u64::MAX, 9..3, 7..7], [8..2]);
    assert_eq!(nothing.total(), 0);
}

#[test]
fn of_too_many_ranges_the_smallest_are_left_out() {
    // The first has one page, and each has one page more than the one before.
    let island = |index: usize| {
        let start = (1000 * index as u64 + 1) * PAGE;
        start..start + (index as u64 + 1) * PAGE
    };
    let full = MemoryPlan::new((0..MAX_RANGES).map(island), []);
    assert_eq!((full.free().count(), full.left_out()), (MAX_RANGES, 0));
    let more: Vec<_> = (0..MAX_RANGES + 10).map(island).collect();
    let plan = MemoryPlan::new(more.clone(), []);
    assert_eq!(plan.free().collect::<Vec<_>>(), more[10..]);
    assert_eq!(plan.left_out(), (1..=10).sum::<u64>() * PAGE);
    let plan = MemoryPlan::new(more.iter().rev().cloned(), []);
    assert_eq!(plan.free().collect::<Vec<_>>(), more[10..], "in any order");

    let mut plan = MemoryPlan::new((1..MAX_RANGES).map(island), []);
    plan.add((1_000_000 * PAGE..1_000_005 * PAGE).into());
    let total = plan.total();
    plan.reserve(1_000_001 * PAGE..1_000_002 * PAGE);
    assert_invariants(&plan);
    assert_eq!(plan.free().count(), MAX_RANGES);
    assert_eq!(
        plan.left_out(),
        PAGE,
        "the page in front of the reserved one"
    );
    assert_eq!(plan.total(), total - 2 * PAGE);
    assert!(plan.take(PAGE, 4 * PAGE).is_some());
    assert_invariants(&plan);
}

#[test]
fn nothing_reserved_is_free_however_many_ranges_there_are() {
    let mut random = Random(0x0de5_1e55);
    for _ in 0..if cfg!(miri) { 2 } else { 200 } {
        let span = |random: &mut Random| {
            let start = random.below(4000);
            start * PAGE..(start + random.below(20)) * PAGE
        };
        let ram: Vec<_> = (0..300).map(|_| span(&mut random)).collect();
        let reserved: Vec<_> = (0..300).map(|_| span(&mut random)).collect();
        let plan = MemoryPlan::new(ram.clone(), reserved.clone());
        assert_invariants(&plan);
        assert!(plan.free().count() <= MAX_RANGES);
        let covers = |ranges: &[Range<u64>], at| ranges.iter().any(|range| range.contains(&at));
        let free = |at: &u64| covers(&ram, *at) && !covers(&reserved, *at);
        let pages = (1..5000).map(|page| page * PAGE);
        let wrong = |at: &u64| plan.free().any(|range| range.contains(at)) && !free(at);
        assert_eq!(pages.clone().find(wrong), None);
        let all = pages.filter(free).count() as u64 * PAGE;
        assert!(
            plan.total() + plan.left_out() >= all,
            "pages are neither free nor left out"
        );
    }
}

#[test]
fn of_equal_ranges_the_lowest_is_taken() {
    let mut plan = MemoryPlan::new([PAGE..3 * PAGE, 8 * PAGE..10 * PAGE], []);
    assert_eq!(plan.take(1, 1), Some(PAGE..2 * PAGE));
    assert_eq!(plan.take(0, 1), None);
}
