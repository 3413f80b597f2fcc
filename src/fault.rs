//! What an exception syndrome says, in words.
//!
//! `ESR_EL1` packs why an exception was taken: a class in bits 31:26 and, for
//! each class, its own 25 bits of detail (Arm ARM DDI 0487, ESR_EL1). This
//! decodes the classes that a kernel at EL1 can meet and prints them so that
//! no reader has to look them up. Pure, and tested on the host.

#![forbid(unsafe_code)]

use core::fmt;

/// The value of `ESR_EL1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syndrome(pub u64);

/// Why an exception was taken: `ESR_EL1.EC`, with what its details say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// EC 0x00: an undefined instruction, or an `HLT` that no host serves.
    Unknown,
    /// EC 0x01: a trapped `WFI` or `WFE`.
    TrappedWait,
    /// EC 0x07: FP or SIMD used while `CPACR_EL1` forbids it.
    FpAccess,
    /// EC 0x0d: a branch to where no `BTI` is.
    BranchTarget,
    /// EC 0x0e: `PSTATE.IL` was set.
    IllegalState,
    /// EC 0x15, 0x16, 0x17: `SVC`, `HVC` or `SMC`, and its immediate.
    Call(&'static str, u16),
    /// EC 0x18: a trapped `MSR`, `MRS` or system instruction.
    SystemRegister(SystemRegister),
    /// EC 0x19: SVE used while `CPACR_EL1` forbids it.
    SveAccess,
    /// EC 0x1c: a pointer failed authentication.
    PointerAuthentication,
    /// EC 0x20, 0x21: an instruction could not be fetched.
    InstructionAbort(FaultStatus),
    /// EC 0x22: the program counter is not a multiple of 4.
    PcAlignment,
    /// EC 0x24, 0x25: a load or store went wrong.
    DataAbort(DataAbort),
    /// EC 0x26: the stack pointer is not a multiple of 16.
    SpAlignment,
    /// EC 0x2c: a floating-point exception that is not masked.
    FpException,
    /// EC 0x2f: an SError.
    SError,
    /// EC 0x30 to 0x35: a hardware breakpoint, single step or watchpoint.
    Debug,
    /// EC 0x3c: a `BRK`, and its immediate.
    Breakpoint(u16),
    /// A class that a kernel at EL1 doesn't meet.
    Other(u8),
}

/// What a data abort was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataAbort {
    /// What went wrong.
    pub status: FaultStatus,
    /// `WnR`: it was a store. Cache maintenance counts as one.
    pub write: bool,
    /// `CM`: it was a cache maintenance instruction.
    pub cache_maintenance: bool,
}

/// A fault status code (DFSC, IFSC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultStatus {
    /// An output address is too large at this level of the walk.
    AddressSize(u8),
    /// Nothing is mapped there: the walk ended at this level.
    Translation(u8),
    /// The access flag is clear in the descriptor at this level.
    AccessFlag(u8),
    /// The descriptor at this level forbids it.
    Permission(u8),
    /// The memory or device answered with an error.
    External,
    /// The same, for a table at this level of the walk.
    ExternalOnWalk(u8),
    /// Memory found its content corrupt.
    Parity,
    /// The access is not aligned as it has to be.
    Alignment,
    /// Two TLB entries matched.
    TlbConflict,
    /// An exclusive or atomic access to memory that doesn't support one.
    UnsupportedAtomic,
    /// Another code.
    Other(u8),
}

/// The register of a trapped `MSR` or `MRS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemRegister {
    /// The fields op0, op1, CRn, CRm and op2 of the register's name.
    pub name: [u8; 5],
    /// It was an `MRS`.
    pub read: bool,
}

impl Syndrome {
    /// `bits` bits of the value from bit `low` up; at most 16.
    #[allow(clippy::cast_possible_truncation)] // At most 16 bits are asked for.
    const fn field(self, low: u32, bits: u32) -> u16 {
        (self.0 >> low & ((1 << bits) - 1)) as u16
    }

    /// Eight bits at most, for the fields that have no more.
    #[allow(clippy::cast_possible_truncation)] // At most 8 bits are asked for.
    const fn small_field(self, low: u32, bits: u32) -> u8 {
        self.field(low, bits) as u8
    }

    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 != 0
    }

    /// Returns why the exception was taken.
    pub const fn class(self) -> Class {
        match self.small_field(26, 6) {
            0x00 => Class::Unknown,
            0x01 => Class::TrappedWait,
            0x07 => Class::FpAccess,
            0x0d => Class::BranchTarget,
            0x0e => Class::IllegalState,
            0x15 => Class::Call("SVC", self.field(0, 16)),
            0x16 => Class::Call("HVC", self.field(0, 16)),
            0x17 => Class::Call("SMC", self.field(0, 16)),
            0x18 => Class::SystemRegister(SystemRegister {
                name: [
                    self.small_field(20, 2),
                    self.small_field(14, 3),
                    self.small_field(10, 4),
                    self.small_field(1, 4),
                    self.small_field(17, 3),
                ],
                read: self.bit(0),
            }),
            0x19 => Class::SveAccess,
            0x1c => Class::PointerAuthentication,
            0x20 | 0x21 => Class::InstructionAbort(self.fault_status()),
            0x22 => Class::PcAlignment,
            0x24 | 0x25 => Class::DataAbort(DataAbort {
                status: self.fault_status(),
                write: self.bit(6),
                cache_maintenance: self.bit(8),
            }),
            0x26 => Class::SpAlignment,
            0x2c => Class::FpException,
            0x2f => Class::SError,
            0x30..=0x35 => Class::Debug,
            0x3c => Class::Breakpoint(self.field(0, 16)),
            other => Class::Other(other),
        }
    }

    /// Returns the fault status code, which only aborts have.
    const fn fault_status(self) -> FaultStatus {
        let code = self.small_field(0, 6);
        let level = code & 3;
        match code {
            0x00..=0x03 => FaultStatus::AddressSize(level),
            0x04..=0x07 => FaultStatus::Translation(level),
            0x08..=0x0b => FaultStatus::AccessFlag(level),
            0x0c..=0x0f => FaultStatus::Permission(level),
            0x10 => FaultStatus::External,
            0x14..=0x17 => FaultStatus::ExternalOnWalk(level),
            0x18 | 0x1c..=0x1f => FaultStatus::Parity,
            0x21 => FaultStatus::Alignment,
            0x30 => FaultStatus::TlbConflict,
            0x31 | 0x35 => FaultStatus::UnsupportedAtomic,
            other => FaultStatus::Other(other),
        }
    }

    /// Returns whether `FAR_EL1` holds the address that this is about: it does for aborts,
    /// unless `FnV` says no, for PC alignment faults and watchpoints.
    pub const fn has_address(self) -> bool {
        match self.class() {
            Class::InstructionAbort(_) | Class::DataAbort(_) => !self.bit(10),
            Class::PcAlignment => true,
            Class::Debug => self.small_field(26, 6) >= 0x34,
            _ => false,
        }
    }
}

impl fmt::Display for FaultStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressSize(level) => write!(f, "address size fault, level {level}"),
            Self::Translation(level) => write!(f, "not mapped, level {level}"),
            Self::AccessFlag(level) => write!(f, "access flag fault, level {level}"),
            Self::Permission(level) => write!(f, "permission denied, level {level}"),
            Self::External => f.write_str("external abort"),
            Self::ExternalOnWalk(level) => {
                write!(f, "external abort on the table walk, level {level}")
            }
            Self::Parity => f.write_str("parity or ECC error"),
            Self::Alignment => f.write_str("not aligned"),
            Self::TlbConflict => f.write_str("TLB conflict"),
            Self::UnsupportedAtomic => {
                f.write_str("exclusive or atomic access to memory without support for it")
            }
            Self::Other(code) => write!(f, "fault status {code:#04x}"),
        }
    }
}

impl fmt::Display for SystemRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [op0, op1, crn, crm, op2] = self.name;
        let how = if self.read { "read" } else { "write" };
        write!(f, "{how} of S{op0}_{op1}_C{crn}_C{crm}_{op2}")
    }
}

impl fmt::Display for Syndrome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class() {
            Class::Unknown => f.write_str("undefined instruction"),
            Class::TrappedWait => f.write_str("trapped WFI or WFE"),
            Class::FpAccess => f.write_str("FP or SIMD access while it is off"),
            Class::BranchTarget => f.write_str("branch to no branch target"),
            Class::IllegalState => f.write_str("illegal execution state"),
            Class::Call(name, number) => write!(f, "{name} #{number:#x}"),
            Class::SystemRegister(register) => write!(f, "trapped {register}"),
            Class::SveAccess => f.write_str("SVE access while it is off"),
            Class::PointerAuthentication => f.write_str("pointer authentication failure"),
            Class::InstructionAbort(status) => write!(f, "instruction abort, {status}"),
            Class::PcAlignment => f.write_str("PC not aligned"),
            Class::DataAbort(abort) => {
                let what = match (abort.cache_maintenance, abort.write) {
                    (true, _) => "cache maintenance",
                    (false, true) => "write",
                    (false, false) => "read",
                };
                write!(f, "data abort on a {what}, {}", abort.status)
            }
            Class::SpAlignment => f.write_str("SP not aligned"),
            Class::FpException => f.write_str("floating-point exception"),
            Class::SError => write!(f, "SError, syndrome {:#x}", self.0 & 0x1ff_ffff),
            Class::Debug => f.write_str("hardware breakpoint, step or watchpoint"),
            Class::Breakpoint(number) => write!(f, "BRK #{number:#x}"),
            Class::Other(class) => write!(f, "exception class {class:#04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    /// Returns an abort of class `class` with these low bits.
    fn esr(class: u64, iss: u64) -> Syndrome {
        Syndrome(class << 26 | 1 << 25 | iss)
    }

    #[test]
    fn data_aborts_say_what_was_done_and_why_it_failed() {
        for (iss, text) in [
            (0x4f, "data abort on a write, permission denied, level 3"),
            (0x06, "data abort on a read, not mapped, level 2"),
            (0x21, "data abort on a read, not aligned"),
            (0x10, "data abort on a read, external abort"),
            (
                0x16,
                "data abort on a read, external abort on the table walk, level 2",
            ),
            (
                0x144,
                "data abort on a cache maintenance, not mapped, level 0",
            ),
            (0x3d, "data abort on a read, fault status 0x3d"),
        ] {
            assert_eq!(esr(0x25, iss).to_string(), text);
        }
    }

    #[test]
    fn the_address_counts_only_where_it_is_valid() {
        assert!(esr(0x25, 0x06).has_address());
        assert!(!esr(0x25, 0x410).has_address(), "FnV");
        assert!(esr(0x21, 0x0f).has_address());
        assert!(esr(0x22, 0).has_address());
        assert!(esr(0x35, 0).has_address());
        assert!(!esr(0x31, 0).has_address());
        assert!(!esr(0x3c, 0).has_address());
    }

    #[test]
    fn a_trapped_register_is_named() {
        // MRS x0, ICC_IAR1_EL1, which is S3_0_C12_C12_0.
        let iss = 3 << 20 | 12 << 10 | 12 << 1 | 1;
        assert_eq!(esr(0x18, iss).to_string(), "trapped read of S3_0_C12_C12_0");
        // MSR CNTV_CTL_EL0, x5, which is S3_3_C14_C3_1.
        let iss = 3 << 20 | 1 << 17 | 3 << 14 | 14 << 10 | 5 << 5 | 3 << 1;
        assert_eq!(esr(0x18, iss).to_string(), "trapped write of S3_3_C14_C3_1");
    }

    #[test]
    fn the_other_classes_have_words() {
        for (class, iss, text) in [
            (0x00, 0, "undefined instruction"),
            (0x07, 0, "FP or SIMD access while it is off"),
            (0x0e, 0, "illegal execution state"),
            (0x16, 0x12, "HVC #0x12"),
            (0x17, 0, "SMC #0x0"),
            (0x21, 0x0f, "instruction abort, permission denied, level 3"),
            (0x22, 0, "PC not aligned"),
            (0x26, 0, "SP not aligned"),
            (0x2f, 0x11, "SError, syndrome 0x11"),
            (0x3c, 0xf000, "BRK #0xf000"),
            (0x3f, 0, "exception class 0x3f"),
        ] {
            assert_eq!(esr(class, iss).to_string(), text);
        }
    }
}
