//! The registers in which a CPU says what instructions it has.

use aarch64_cpu::registers::{
    ID_AA64ISAR0_EL1, ID_AA64ISAR1_EL1, ID_AA64MMFR2_EL1, ID_AA64PFR0_EL1, ID_AA64PFR1_EL1,
    Readable,
};

use crate::cpu::IdRegisters;

/// Returns in what registers the running CPU says which instructions it has (Arm ARM, ID registers).
pub fn id_registers() -> IdRegisters {
    IdRegisters {
        isar0: ID_AA64ISAR0_EL1.get(),
        isar1: ID_AA64ISAR1_EL1.get(),
        mmfr2: ID_AA64MMFR2_EL1.get(),
        pfr0: ID_AA64PFR0_EL1.get(),
        pfr1: ID_AA64PFR1_EL1.get(),
    }
}
