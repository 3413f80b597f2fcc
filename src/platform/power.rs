//! The trait of the means that turn CPUs and the machine on and off.

use core::fmt;

use crate::cpu::Mpidr;

/// The instruction that calls firmware (DEN 0028, SMC Calling Convention).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduit {
    /// `HVC #0`, to a hypervisor.
    Hvc,
    /// `SMC #0`, to secure firmware.
    Smc,
}

impl fmt::Display for Conduit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hvc => "hvc",
            Self::Smc => "smc",
        })
    }
}

/// A refusal by PSCI firmware (DEN 0022, return error codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PsciError {
    /// NOT_SUPPORTED, -1.
    NotSupported,
    /// INVALID_PARAMETERS, -2: no such CPU, for CPU_ON.
    InvalidParameters,
    /// DENIED, -3: firmware's policy forbids it.
    Denied,
    /// ALREADY_ON, -4.
    AlreadyOn,
    /// ON_PENDING, -5.
    OnPending,
    /// INTERNAL_FAILURE, -6.
    InternalFailure,
    /// NOT_PRESENT, -7.
    NotPresent,
    /// DISABLED, -8.
    Disabled,
    /// INVALID_ADDRESS, -9.
    InvalidAddress,
    /// A value that the specification doesn't define.
    Unknown(i64),
}

impl PsciError {
    /// Returns the error that `code` stands for: the inverse of [`PsciError::code`].
    pub const fn from_code(code: i64) -> PsciError {
        match code {
            -1 => Self::NotSupported,
            -2 => Self::InvalidParameters,
            -3 => Self::Denied,
            -4 => Self::AlreadyOn,
            -5 => Self::OnPending,
            -6 => Self::InternalFailure,
            -7 => Self::NotPresent,
            -8 => Self::Disabled,
            -9 => Self::InvalidAddress,
            other => Self::Unknown(other),
        }
    }

    /// Returns the value that firmware returns for this error.
    pub const fn code(self) -> i64 {
        match self {
            Self::NotSupported => -1,
            Self::InvalidParameters => -2,
            Self::Denied => -3,
            Self::AlreadyOn => -4,
            Self::OnPending => -5,
            Self::InternalFailure => -6,
            Self::NotPresent => -7,
            Self::Disabled => -8,
            Self::InvalidAddress => -9,
            Self::Unknown(code) => code,
        }
    }
}

impl fmt::Display for PsciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::NotSupported => "NOT_SUPPORTED",
            Self::InvalidParameters => "INVALID_PARAMETERS",
            Self::Denied => "DENIED",
            Self::AlreadyOn => "ALREADY_ON",
            Self::OnPending => "ON_PENDING",
            Self::InternalFailure => "INTERNAL_FAILURE",
            Self::NotPresent => "NOT_PRESENT",
            Self::Disabled => "DISABLED",
            Self::InvalidAddress => "INVALID_ADDRESS",
            Self::Unknown(_) => "unknown code",
        };
        write!(f, "PSCI {name} ({})", self.code())
    }
}

/// The power state of a CPU that firmware reports (DEN 0022, AFFINITY_INFO).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerState {
    /// ON.
    On,
    /// OFF. This alone doesn't prove that the CPU is off: firmware also reports it for a while
    /// after a successful CPU_ON.
    Off,
    /// ON_PENDING.
    OnPending,
}

/// Turns CPUs and the machine on and off. PSCI implements it, and so does the pen for CPUs
/// that firmware can't turn off; the kernel chooses for each CPU.
pub trait CpuOps: Sync {
    /// Starts `target` at the physical address `entry` with `context` in x0.
    ///
    /// # Errors
    /// Firmware's answer; nothing is retried here.
    ///
    /// # Safety
    /// `entry` must be code that runs with MMU and caches off, at the exception level at which
    /// this CPU was booted. All memory that it reads must be clean to the point of coherency,
    /// and stay so until the CPU has arrived.
    unsafe fn cpu_on(&self, target: Mpidr, entry: u64, context: u64) -> Result<(), PsciError>;

    /// Turns this CPU off. Returns only if firmware refuses.
    ///
    /// # Context
    /// IRQs masked, no interrupt active, nothing left to run here.
    fn cpu_off(&self) -> PsciError;

    /// Checks whether firmware would turn `target` off, as far as it tells in advance: it
    /// refuses for a CPU with a resident trusted OS (DEN 0022, MIGRATE_INFO_TYPE).
    ///
    /// # Errors
    /// The refusal that is to be expected.
    fn can_turn_off(&self, target: Mpidr) -> Result<(), PsciError>;

    /// Returns the power state of `target`.
    ///
    /// # Errors
    /// Firmware's answer.
    fn affinity_info(&self, target: Mpidr) -> Result<PowerState, PsciError>;

    /// Turns the machine off; returns only if that can't be done.
    fn system_off(&self);

    /// Resets the machine; returns only if that can't be done.
    fn system_reset(&self);

    /// Writes the name that messages use, such as `PSCI 1.1 (hvc)`.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// A question that firmware answers without doing anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PsciQuery {
    /// PSCI_VERSION.
    Version,
    /// AFFINITY_INFO of this CPU, at level 0.
    AffinityInfo(Mpidr),
    /// PSCI_FEATURES of the function with this number.
    Features(u32),
    /// MIGRATE_INFO_TYPE.
    MigrateInfoType,
}
