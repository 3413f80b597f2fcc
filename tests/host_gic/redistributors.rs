//! The search for redistributors on machines that have fewer of them than their device tree.

use std::ops::Range;

use stillpoint::cpu::{CpuId, CpuMask, Mpidr};
use stillpoint::device::gic::{BadStride, FRAME, Found, RedistributorType, find_redistributors};
use stillpoint::smp::FanOut;

/// Why a read of a redistributor fails.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// There is no redistributor at this address, and the search should not have read it.
    Abort(u64),
    BadStride,
}

impl From<BadStride> for Failure {
    fn from(_: BadStride) -> Self {
        Failure::BadStride
    }
}

const BASE: u64 = 0x080a_0000;
const STRIDE: u64 = 2 * FRAME;

/// A machine with `count` redistributors at [`BASE`] without a gap, that of CPU 0 first.
struct Machine {
    count: u64,
    has_vlpis: bool,
}

const FOUR: Machine = Machine {
    count: 4,
    has_vlpis: false,
};

impl Machine {
    fn find(
        &self,
        regions: &[Range<u64>],
        stride: Option<u64>,
        cpus: &[Mpidr],
    ) -> Result<Found, Failure> {
        find_redistributors(regions, stride, cpus, |at| match self.read(at) {
            None => Err(Failure::Abort(at)),
            own => Ok(own),
        })
    }

    /// Returns GICR_TYPER of the redistributor at `at`, if there is one.
    fn read(&self, at: u64) -> Option<RedistributorType> {
        let own = if self.has_vlpis { 2 * STRIDE } else { STRIDE };
        let number = at.checked_sub(BASE)? / own;
        (at % own == BASE % own && number < self.count).then_some(RedistributorType {
            mpidr: Mpidr::from_register(number),
            is_last: number + 1 == self.count,
            has_vlpis: self.has_vlpis,
        })
    }
}

/// Returns regions with room for one redistributor each.
fn singles(count: u64) -> Vec<Range<u64>> {
    let starts = (0..count).map(|at| BASE + at * STRIDE);
    starts.map(|start| start..start + STRIDE).collect()
}

fn cpus(numbers: impl IntoIterator<Item = u64>) -> Vec<Mpidr> {
    numbers.into_iter().map(Mpidr::from_register).collect()
}

fn places(numbers: impl IntoIterator<Item = u64>) -> Vec<Option<u64>> {
    let place = |number| Some(BASE + number * STRIDE);
    numbers.into_iter().map(place).collect()
}

/// Returns whether CPU 0 sends an SGI to all other CPUs of `count` by the single write that
/// reaches every interface.
fn broadcasts(found: &Found, count: usize) -> bool {
    let numbers = (0..count).filter_map(CpuId::new);
    let all = numbers.zip(cpus(0..count as u64));
    let fan_out = FanOut::new(all, found.interfaces, false).expect("few CPUs");
    let others = CpuMask::first_n(count).without(&CpuMask::of(CpuId::BOOT));
    fan_out.is_all_but_self(CpuId::BOOT, &others)
}

#[test]
fn regions_behind_the_last_cpu_s_are_not_read() {
    for regions in 5..9 {
        let found = FOUR.find(&singles(regions), None, &cpus(0..4));
        let found = found.expect("nothing is read that isn't there");
        assert_eq!(found.frames, places(0..4));
        assert!(
            !broadcasts(&found, 4),
            "a write would reach interfaces that were not found"
        );
    }
}

#[test]
fn frames_behind_the_last_cpu_s_are_not_read() {
    let whole = BASE..BASE + 8 * STRIDE;
    let found = FOUR.find(&[whole], None, &cpus([1, 0]));
    let found = found.expect("nothing is read that isn't there");
    assert_eq!(found.frames, places([1, 0]));
    assert_eq!(found.interfaces, 3, "two that were read, and perhaps more");
    assert!(!broadcasts(&found, 2), "to the CPUs that aren't listed");
}

#[test]
fn a_machine_of_its_cpus_alone_is_known_to_be_one() {
    let whole = BASE..BASE + 4 * STRIDE;
    let too_long = BASE..BASE + 100 * STRIDE;
    let no_room = BASE + 4 * STRIDE..BASE + 5 * STRIDE - 1;
    for regions in [
        singles(4),
        vec![whole.clone()],
        vec![too_long],
        vec![whole, no_room],
    ] {
        let found = FOUR.find(&regions, None, &cpus(0..4)).expect("all there");
        assert_eq!(found.frames, places(0..4));
        assert_eq!(found.interfaces, 4, "{regions:x?}");
        assert!(broadcasts(&found, 4), "{regions:x?}");
    }
}

#[test]
fn the_order_of_cpus_and_regions_is_free() {
    let mut regions = singles(4);
    regions.reverse();
    let found = FOUR
        .find(&regions, None, &cpus([2, 0, 3, 1]))
        .expect("all there");
    assert_eq!(found.frames, places([2, 0, 3, 1]));
    assert_eq!(found.interfaces, 4);
}

#[test]
fn a_cpu_without_a_redistributor_is_looked_for_to_the_end() {
    let found = FOUR
        .find(&singles(4), None, &cpus([0, 9, 1]))
        .expect("no fault");
    let mut wanted = places([0, 9, 1]);
    wanted[1] = None;
    assert_eq!(found.frames, wanted);
    assert_eq!(found.interfaces, 4);
}

#[test]
fn a_region_where_nothing_answers_is_passed_over() {
    // The last redistributor is marked as such, one frame before the end of the region.
    let nowhere = 0x1000_0000..0x1000_0000 + 2 * STRIDE;
    let too_long = BASE..BASE + 5 * STRIDE;
    let mut read = Vec::new();
    let found = find_redistributors(&[nowhere, too_long], None, &cpus([0, 9, 3]), |at| {
        read.push(at);
        let own = FOUR.read(at);
        Ok::<_, BadStride>(own.map(|own| RedistributorType {
            is_last: false,
            ..own
        }))
    });
    let found = found.expect("no fault");
    assert_eq!(found.frames, [Some(BASE), None, Some(BASE + 3 * STRIDE)]);
    assert_eq!(found.interfaces, 4);
    let frames = (0..5).map(|number| BASE + number * STRIDE);
    assert!(
        read.into_iter().eq([0x1000_0000].into_iter().chain(frames)),
        "each once"
    );
}

#[test]
fn two_cpus_with_one_affinity_have_one_redistributor() {
    let found = FOUR
        .find(&singles(4), None, &cpus([1, 1]))
        .expect("all there");
    assert_eq!(found.frames, places([1, 1]));
}

#[test]
fn redistributors_are_as_far_apart_as_they_or_the_tree_say() {
    let wide = Machine {
        count: 4,
        has_vlpis: true,
    };
    let whole = BASE..BASE + 8 * STRIDE;
    for stride in [None, Some(2 * STRIDE)] {
        let found = wide.find(std::slice::from_ref(&whole), stride, &cpus(0..4));
        let frames = found.expect("all there").frames;
        assert_eq!(frames, places([0, 2, 4, 6]));
    }
    for stride in [0, FRAME, STRIDE + 0x1000] {
        let found = FOUR.find(std::slice::from_ref(&whole), Some(stride), &cpus(0..4));
        assert_eq!(found, Err(Failure::BadStride), "{stride:#x}");
    }
}
