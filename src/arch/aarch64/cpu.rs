//! The identification registers of the running CPU.

use aarch64_cpu::registers::{MIDR_EL1, MPIDR_EL1, Readable};

use crate::cpu::Mpidr;

/// Returns the running CPU's affinity (Arm ARM, MPIDR_EL1).
pub fn mpidr() -> Mpidr {
    Mpidr::from_register(MPIDR_EL1.get())
}

/// Returns the running CPU's implementer, part and revision (Arm ARM, MIDR_EL1).
pub fn midr() -> u32 {
    // The upper half is reserved.
    let [b0, b1, b2, b3, ..] = MIDR_EL1.get().to_le_bytes();
    u32::from_le_bytes([b0, b1, b2, b3])
}
