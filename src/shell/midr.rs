//! The fields of `MIDR_EL1`, and the names of vendors and cores.
//!
//! # Sources
//! Arm ARM, MIDR_EL1 (layout and implementer codes); the part numbers from the
//! "Main ID Register" sections of the cores' technical reference manuals, and
//! for other vendors' cores from Linux `arch/arm64/include/asm/cputype.h`.

/// A value of `MIDR_EL1`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Midr(pub(super) u32);

impl Midr {
    /// Returns bits 31:24, the implementer's code.
    pub(super) fn implementer(self) -> u32 {
        self.0 >> 24
    }

    /// Returns bits 23:20, the major revision.
    pub(super) fn variant(self) -> u32 {
        self.0 >> 20 & 0xf
    }

    /// Returns bits 15:4, the part number, which says which of the implementer's cores
    /// it is.
    pub(super) fn part(self) -> u32 {
        self.0 >> 4 & 0xfff
    }

    /// Returns bits 3:0, the minor revision.
    pub(super) fn revision(self) -> u32 {
        self.0 & 0xf
    }

    /// Returns whether Arm made the core; Arm's revisions are written `r0p3`.
    pub(super) fn is_arm(self) -> bool {
        self.implementer() == ARM
    }

    /// Returns the implementer's name, as `lscpu` prints it; `None` if it isn't known.
    /// Code 0 is reserved for software use, so there the part number tells QEMU from
    /// other emulators.
    pub(super) fn vendor(self) -> Option<&'static str> {
        if (self.implementer(), self.part()) == QEMU_MAX {
            return Some("QEMU");
        }
        find(&VENDORS, self.implementer())
    }

    /// Returns the core's name; `None` if it isn't known.
    pub(super) fn model(self) -> Option<&'static str> {
        find(&MODELS, (self.implementer(), self.part()))
    }
}

/// Returns the name of `key` in `table`; `None` if it isn't there.
fn find<K: Copy + PartialEq>(table: &[(K, &'static str)], key: K) -> Option<&'static str> {
    table.iter().find(|row| row.0 == key).map(|row| row.1)
}

const ARM: u32 = 0x41;

/// Implementer and part of QEMU's CPU model `max` under TCG, which emulates no core that
/// was ever made. The part is the letter Q (QEMU, `target/arm/tcg/cpu64.c`,
/// `aarch64_max_tcg_initfn`).
const QEMU_MAX: (u32, u32) = (0, 0x051);

const VENDORS: [(u32, &str); 13] = [
    (ARM, "ARM"),
    (0x42, "Broadcom"),
    (0x43, "Cavium"),
    (0x46, "FUJITSU"),
    (0x48, "HiSilicon"),
    (0x4d, "Motorola/Freescale"),
    (0x4e, "NVIDIA"),
    (0x50, "APM"),
    (0x51, "Qualcomm"),
    (0x56, "Marvell"),
    (0x61, "Apple"),
    (0x6d, "Microsoft"),
    (0xc0, "Ampere"),
];

const MODELS: [((u32, u32), &str); 37] = [
    (QEMU_MAX, "max (emulated)"),
    ((ARM, 0xd03), "Cortex-A53"),
    ((ARM, 0xd04), "Cortex-A35"),
    ((ARM, 0xd05), "Cortex-A55"),
    ((ARM, 0xd06), "Cortex-A65"),
    ((ARM, 0xd07), "Cortex-A57"),
    ((ARM, 0xd08), "Cortex-A72"),
    ((ARM, 0xd09), "Cortex-A73"),
    ((ARM, 0xd0a), "Cortex-A75"),
    ((ARM, 0xd0b), "Cortex-A76"),
    ((ARM, 0xd0c), "Neoverse-N1"),
    ((ARM, 0xd0d), "Cortex-A77"),
    ((ARM, 0xd0e), "Cortex-A76AE"),
    ((ARM, 0xd40), "Neoverse-V1"),
    ((ARM, 0xd41), "Cortex-A78"),
    ((ARM, 0xd42), "Cortex-A78AE"),
    ((ARM, 0xd44), "Cortex-X1"),
    ((ARM, 0xd46), "Cortex-A510"),
    ((ARM, 0xd47), "Cortex-A710"),
    ((ARM, 0xd48), "Cortex-X2"),
    ((ARM, 0xd49), "Neoverse-N2"),
    ((ARM, 0xd4b), "Cortex-A78C"),
    ((ARM, 0xd4d), "Cortex-A715"),
    ((ARM, 0xd4e), "Cortex-X3"),
    ((ARM, 0xd4f), "Neoverse-V2"),
    ((ARM, 0xd80), "Cortex-A520"),
    ((ARM, 0xd81), "Cortex-A720"),
    ((ARM, 0xd82), "Cortex-X4"),
    ((ARM, 0xd84), "Neoverse-V3"),
    ((ARM, 0xd85), "Cortex-X925"),
    ((ARM, 0xd87), "Cortex-A725"),
    ((ARM, 0xd8e), "Neoverse-N3"),
    ((0x46, 0x001), "A64FX"),
    ((0x61, 0x022), "Icestorm-M1"),
    ((0x61, 0x023), "Firestorm-M1"),
    ((0xc0, 0xac3), "Ampere-1"),
    ((0xc0, 0xac4), "Ampere-1a"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raspberry_pi_4_is_recognised() {
        let midr = Midr(0x410f_d083);
        assert_eq!(
            (midr.vendor(), midr.model()),
            (Some("ARM"), Some("Cortex-A72"))
        );
        assert_eq!((midr.variant(), midr.revision()), (0, 3));
        assert!(midr.is_arm());
    }

    #[test]
    fn an_emulated_cpu_is_called_what_qemu_calls_it() {
        let max = Midr(0x000f_0510);
        assert_eq!(
            (max.vendor(), max.model()),
            (Some("QEMU"), Some("max (emulated)"))
        );
        assert_eq!((max.implementer(), max.part()), (0, 0x051));
        // Other software that takes the same code is not QEMU.
        let other = Midr(0x000f_0520);
        assert_eq!((other.vendor(), other.model()), (None, None));
    }
}
