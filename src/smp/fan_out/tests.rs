//! The writes of [`FanOut`] against what a GIC would make of them.

extern crate std;

use std::collections::BTreeSet;
use std::vec::Vec;

use super::{FanOut, FanOutError, SgiWrite};
use crate::config::MAX_CPUS;
use crate::cpu::{CpuId, CpuMask, Mpidr};

/// A GIC with an interface for each affinity of `interfaces`; the first ones
/// are CPUs of ours, in that order.
struct Machine {
    interfaces: Vec<Mpidr>,
    cpus: usize,
    fan_out: FanOut,
}

impl Machine {
    fn new(interfaces: Vec<Mpidr>, cpus: usize) -> Machine {
        let ours = interfaces[..cpus].iter().enumerate();
        let ours = ours.map(|(at, mpidr)| (cpu(at), *mpidr));
        let fan_out = FanOut::new(ours, interfaces.len(), true).unwrap();
        Machine {
            interfaces,
            cpus,
            fan_out,
        }
    }

    /// `count` CPUs as QEMU's `virt` numbers them: 16 for each level 1.
    fn virt(count: usize) -> Machine {
        Machine::new((0..count).map(|at| virt_mpidr(at as u64)).collect(), count)
    }

    /// Which interfaces the writes reach, as the register's bits say it
    /// (decoded here by hand, so that the encoding is tested with the choice).
    /// Fails if one is reached twice.
    fn deliver(&self, me: usize, writes: &[SgiWrite]) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        for value in writes.iter().map(|write| write.register(5)) {
            assert_eq!(value >> 24 & 0xf, 5, "the interrupt number");
            for (at, mpidr) in self.interfaces.iter().enumerate() {
                let group = value >> 48 & 0xff == u64::from(mpidr.aff(3))
                    && value >> 32 & 0xff == u64::from(mpidr.aff(2))
                    && value >> 16 & 0xff == u64::from(mpidr.aff(1))
                    && value >> 44 & 0xf == u64::from(mpidr.aff(0) >> 4);
                let named = group && value & (1 << (mpidr.aff(0) & 15)) != 0;
                let hit = if value & (1 << 40) != 0 {
                    at != me
                } else {
                    named
                };
                assert!(!hit || reached.insert(at), "{at} reached twice");
            }
        }
        reached
    }

    fn writes(&self, me: usize, targets: &CpuMask) -> Vec<SgiWrite> {
        self.fan_out.writes(cpu(me), targets).collect()
    }

    /// Checks that exactly `targets` are reached, by at most one write for each
    /// group and by as few as the two shapes allow; returns the writes.
    fn check(&self, me: usize, targets: &CpuMask) -> Vec<SgiWrite> {
        let writes = self.writes(me, targets);
        let expected: BTreeSet<usize> = targets.iter().map(CpuId::index).collect();
        assert_eq!(self.deliver(me, &writes), expected, "{me} to {targets}");
        let all_but_self = self.fan_out.is_all_but_self(cpu(me), targets);
        assert_eq!(all_but_self, writes == [SgiWrite::AllButSelf]);

        let groups_of = |set: &BTreeSet<usize>| {
            let key = |at: &usize| self.interfaces[*at].raw() >> 4;
            set.iter().map(key).collect::<BTreeSet<u64>>().len()
        };
        let mut others: BTreeSet<usize> = (0..self.interfaces.len()).collect();
        others.remove(&me);
        let mut fewest = groups_of(&expected);
        if !others.is_empty() && others.is_subset(&expected) {
            fewest = fewest.min(1 + usize::from(expected.contains(&me)));
        }
        assert_eq!(writes.len(), fewest, "{me} to {targets}: {writes:?}");
        writes
    }
}

fn cpu(at: usize) -> CpuId {
    CpuId::new(at).unwrap()
}

fn mask(cpus: impl IntoIterator<Item = usize>) -> CpuMask {
    cpus.into_iter().map(cpu).collect()
}

fn virt_mpidr(at: u64) -> Mpidr {
    Mpidr::from_reg(((at / 16 / 256) << 16) | ((at / 16 % 256) << 8) | (at % 16)).unwrap()
}

/// Small deterministic generator (xorshift); a seed finds a failure again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

#[test]
fn all_others_online_take_one_write() {
    for count in [2, 4, 16, 17, 64, 257, MAX_CPUS] {
        let machine = Machine::virt(count);
        for me in [0, count / 2, count - 1] {
            let mut others = CpuMask::first_n(count);
            others.remove(cpu(me));
            assert_eq!(machine.check(me, &others), [SgiWrite::AllButSelf]);
        }
    }
}

#[test]
fn one_offline_in_each_group_takes_a_write_for_each_group() {
    let machine = Machine::virt(20);
    let targets = mask((1..20).filter(|at| ![3, 18].contains(at)));
    let writes = machine.check(0, &targets);
    assert_eq!(
        writes,
        [
            SgiWrite::List {
                aff3: 0,
                aff2: 0,
                aff1: 0,
                range_selector: 0,
                target_list: 0xfff6,
            },
            SgiWrite::List {
                aff3: 0,
                aff2: 0,
                aff1: 1,
                range_selector: 0,
                target_list: 0b1011,
            },
        ]
    );
}

#[test]
fn nobody_takes_no_write_and_nobody_is_there_on_one_cpu() {
    let machine = Machine::virt(1);
    assert!(machine.check(0, &CpuMask::EMPTY).is_empty());
    assert_eq!(machine.check(0, &mask([0])).len(), 1);
    assert!(Machine::virt(300).check(7, &CpuMask::EMPTY).is_empty());
}

#[test]
fn the_sender_may_be_a_target() {
    assert_eq!(Machine::virt(4).check(2, &mask(0..4)).len(), 1);
    assert_eq!(Machine::virt(17).check(16, &mask(0..17)).len(), 2);
    assert_eq!(
        Machine::virt(MAX_CPUS).check(300, &mask(0..MAX_CPUS)).len(),
        2
    );
    assert_eq!(Machine::virt(64).check(20, &mask([20])).len(), 1);
}

#[test]
fn an_interface_that_is_not_ours_forbids_all_but_self() {
    let interfaces = (0..17).map(virt_mpidr).collect();
    let machine = Machine::new(interfaces, 16);
    let writes = machine.check(0, &mask(1..16));
    assert!(matches!(writes[..], [SgiWrite::List { .. }]), "{writes:?}");
}

#[test]
fn a_cpu_without_an_interface_is_left_out() {
    let machine = Machine::virt(4);
    let writes = machine.writes(0, &mask([1, 400]));
    assert_eq!(machine.deliver(0, &writes), BTreeSet::from([1]));
}

#[test]
fn a_range_selector_is_used_where_there_is_one() {
    let mpidr = Mpidr::from_reg(0x21).unwrap();
    let without = FanOut::new([(cpu(0), mpidr)], 1, false);
    assert_eq!(
        without.unwrap_err(),
        FanOutError::RangeSelectorNeeded(mpidr)
    );
    let fan_out = FanOut::new([(cpu(0), mpidr)], 1, true).unwrap();
    let write = fan_out.writes(cpu(0), &mask([0])).next().unwrap();
    assert_eq!(write.register(7), 2 << 44 | 7 << 24 | 1 << 1);
}

#[test]
fn what_no_write_can_tell_apart_is_refused() {
    let (a, b) = (virt_mpidr(0), virt_mpidr(1));
    let same_affinity = FanOut::new([(cpu(0), a), (cpu(1), a)], 2, true);
    assert_eq!(same_affinity.unwrap_err(), FanOutError::SameAffinity(a));
    let same_cpu = FanOut::new([(cpu(0), a), (cpu(0), b)], 2, true);
    assert_eq!(same_cpu.unwrap_err(), FanOutError::SameCpu(cpu(0)));
}

#[test]
fn register_fields_are_where_the_architecture_has_them() {
    let write = SgiWrite::List {
        aff3: 0xa3,
        aff2: 0xa2,
        aff1: 0xa1,
        range_selector: 0,
        target_list: 0x8001,
    };
    assert_eq!(write.register(0), 0x00a3_00a2_00a1_8001);
    assert_eq!(SgiWrite::AllButSelf.register(3), 0x0000_0100_0300_0000);
}

#[test]
fn cpus_are_found_by_affinity() {
    let machine = Machine::virt(40);
    for at in 0..40 {
        let mpidr = virt_mpidr(at as u64);
        assert_eq!(machine.fan_out.cpu_of(mpidr), Some(cpu(at)));
    }
    assert_eq!(machine.fan_out.cpu_of(virt_mpidr(40)), None);
}

#[test]
fn random_machines_and_random_targets() {
    let mut random = Random(0x5711_1901_0000_0001);
    for _ in 0..200 {
        // Affinities with holes, CPUs alone in their group, in any order.
        let limit = if random.below(4) == 0 { MAX_CPUS } else { 40 };
        let count = 1 + random.below(limit);
        let spread = 1 + random.below(7);
        let mut taken = BTreeSet::new();
        let mut interfaces = Vec::new();
        while interfaces.len() < count {
            let level = |limit: usize, random: &mut Random| random.below(limit) as u64;
            let raw = level(spread, &mut random) << 32
                | level(2, &mut random) << 16
                | level(40, &mut random) << 8
                | level(if spread > 3 { 256 } else { 16 }, &mut random);
            if taken.insert(raw) {
                interfaces.push(Mpidr::from_reg(raw).unwrap());
            }
        }
        let cpus = if random.below(4) == 0 {
            1 + random.below(count)
        } else {
            count
        };
        let machine = Machine::new(interfaces, cpus);
        for _ in 0..20 {
            let me = random.below(machine.cpus);
            let mut targets = CpuMask::first_n(machine.cpus);
            match random.below(4) {
                0 => {}
                1 => targets.remove(cpu(me)),
                2 => targets.remove(cpu(random.below(machine.cpus))),
                _ => {
                    let keep = 1 + random.below(10);
                    let set = (0..machine.cpus).filter(|_| random.below(10) < keep);
                    targets = mask(set.collect::<Vec<_>>());
                }
            }
            machine.check(me, &targets);
        }
    }
}

#[test]
fn a_write_to_one_cpu_reaches_it_alone() {
    for count in [1, 2, 20, 100] {
        let machine = Machine::virt(count);
        for target in 0..count {
            let write = machine.fan_out.write_to(cpu(target));
            let writes: Vec<_> = write.into_iter().collect();
            // Whichever CPU sends it, the target too.
            for me in [0, target] {
                assert_eq!(machine.deliver(me, &writes), BTreeSet::from([target]));
            }
        }
        assert_eq!(machine.fan_out.write_to(cpu(count)), None);
    }
}
