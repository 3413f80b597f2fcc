//! What instructions a CPU has beyond those of every CPU, under Linux's names.
//!
//! Linux prints them in the line `Features` of `/proc/cpuinfo`, in the order of [`FEATURES`]. What a
//! kernel has to turn on for its programs, and this one doesn't, is not in it: SVE, pointer
//! authentication, memory tags; nor are those that tell of Linux itself (`cpuid`, `evtstrm`).
//!
//! # Sources
//! Linux `Documentation/arch/arm64/elf_hwcaps.rst` (names, fields and values), `cpu-feature-registers.rst`;
//! Arm ARM, the ID registers (places of the fields).

use crate::cpu::IdRegisters;

#[derive(Clone, Copy)]
enum Register {
    Isar0,
    Isar1,
    Mmfr2,
    Pfr0,
    Pfr1,
}

use Register::{Isar0, Isar1, Mmfr2, Pfr0, Pfr1};

/// A name, the register and the lowest bit of its field, and the least value of that.
const FEATURES: [(&str, Register, u32, u64); 34] = [
    ("fp", Pfr0, 16, 0),
    ("asimd", Pfr0, 20, 0),
    ("aes", Isar0, 4, 1),
    ("pmull", Isar0, 4, 2),
    ("sha1", Isar0, 8, 1),
    ("sha2", Isar0, 12, 1),
    ("crc32", Isar0, 16, 1),
    ("atomics", Isar0, 20, 2),
    ("fphp", Pfr0, 16, 1),
    ("asimdhp", Pfr0, 20, 1),
    ("asimdrdm", Isar0, 28, 1),
    ("jscvt", Isar1, 12, 1),
    ("fcma", Isar1, 16, 1),
    ("lrcpc", Isar1, 20, 1),
    ("dcpop", Isar1, 0, 1),
    ("sha3", Isar0, 32, 1),
    ("sm3", Isar0, 36, 1),
    ("sm4", Isar0, 40, 1),
    ("asimddp", Isar0, 44, 1),
    ("sha512", Isar0, 12, 2),
    ("asimdfhm", Isar0, 48, 1),
    ("dit", Pfr0, 48, 1),
    ("uscat", Mmfr2, 32, 1),
    ("ilrcpc", Isar1, 20, 2),
    ("flagm", Isar0, 52, 1),
    ("ssbs", Pfr1, 4, 2),
    ("sb", Isar1, 36, 1),
    ("dcpodp", Isar1, 0, 2),
    ("flagm2", Isar0, 52, 2),
    ("frint", Isar1, 32, 1),
    ("i8mm", Isar1, 52, 1),
    ("bf16", Isar1, 44, 1),
    ("dgh", Isar1, 48, 1),
    ("rng", Isar0, 60, 1),
];

/// In the fields of floating point and SIMD, which count from 0: there is none.
const ABSENT: u64 = 0xf;

/// Returns the names of what a CPU with `registers` has.
pub(super) fn features(registers: &IdRegisters) -> impl Iterator<Item = &'static str> {
    let registers = *registers;
    let has = move |(_, register, bit, least): &(&str, Register, u32, u64)| {
        let value = match register {
            Isar0 => registers.isar0,
            Isar1 => registers.isar1,
            Mmfr2 => registers.mmfr2,
            Pfr0 => registers.pfr0,
            Pfr1 => registers.pfr1,
        };
        let field = value >> bit & 0xf;
        field >= *least && field != ABSENT
    };
    let found = FEATURES.into_iter().filter(has);
    found.map(|(name, ..)| name)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn names(registers: &IdRegisters) -> Vec<&'static str> {
        features(registers).collect()
    }

    #[test]
    fn a_cortex_a72_has_what_linux_prints_of_it() {
        let a72 = IdRegisters {
            isar0: 0x1_1120,
            isar1: 0,
            mmfr2: 0,
            pfr0: 0x2222,
            pfr1: 0,
        };
        let with_crypto = ["fp", "asimd", "aes", "pmull", "sha1", "sha2", "crc32"];
        assert_eq!(names(&a72), with_crypto);
        // That of a Raspberry Pi 4.
        let without = IdRegisters {
            isar0: 0x1_0000,
            ..a72
        };
        assert_eq!(names(&without), ["fp", "asimd", "crc32"]);
    }

    #[test]
    fn a_neoverse_n1_has_what_linux_prints_of_it() {
        let n1 = IdRegisters {
            isar0: 0x1000_1021_1120,
            isar1: 0x10_0001,
            mmfr2: 0x1011,
            pfr0: 0x1100_0000_1111_1112,
            pfr1: 0x20,
        };
        let linux = "fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimdrdm lrcpc dcpop \
                     asimddp ssbs";
        assert_eq!(names(&n1), linux.split(' ').collect::<Vec<_>>());
    }

    #[test]
    fn a_cpu_without_floating_point_has_none() {
        let none = IdRegisters {
            isar0: 0,
            isar1: 0,
            mmfr2: 0,
            pfr0: 0xff << 16,
            pfr1: 0,
        };
        assert_eq!(names(&none), [""; 0]);
    }
}
