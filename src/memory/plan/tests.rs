//! The plan against a model of single pages, and its borders.
#![allow(clippy::single_range_in_vec_init)] // One range is meant.

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
    // Under Miri a round takes a second.
    let rounds = if cfg!(miri) { 20 } else { 4000 };
    for _ in 0..rounds {
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
