//! What a CPU says of itself.

use aarch64_cpu::registers::{MIDR_EL1, MPIDR_EL1, Readable};

use crate::cpu::Mpidr;

/// Returns this CPU's affinity (Arm ARM, MPIDR_EL1).
pub fn mpidr() -> Mpidr {
    Mpidr::from_register(MPIDR_EL1.get())
}

/// Returns this CPU's make and model (Arm ARM, MIDR_EL1).
pub fn midr() -> u32 {
    // The upper half is reserved.
    let [b0, b1, b2, b3, ..] = MIDR_EL1.get().to_le_bytes();
    u32::from_le_bytes([b0, b1, b2, b3])
}
