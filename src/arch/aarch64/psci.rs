//! Turning CPUs on and off by PSCI calls to firmware or hypervisor.
//!
//! Two machines can differ in the *conduit*, the instruction that makes the
//! call: `HVC` to a hypervisor, `SMC` to firmware. The device tree's `method` says which
//! one. The wrong one is an undefined instruction, or calls different software.
//!
//! Only this module turns return codes into [`PsciError`]. It retries no call.
//!
//! # Sources
//! DEN 0022 (PSCI): PSCI_VERSION, CPU_ON, CPU_OFF, AFFINITY_INFO,
//! MIGRATE_INFO_TYPE, MIGRATE_INFO_UP_CPU, return error codes. DEN 0028
//! (SMCCC): register use.

use core::fmt;

use aarch64_cpu::asm::barrier;
use smccc::Call;
use smccc::psci::{self, AffinityState, LowestAffinityLevel, MigrateType};

use super::traps::{self, Trap};
use crate::arch::assembly::{hvc64, smc64};
use crate::cpu::Mpidr;
use crate::platform::{Conduit, CpuOps, PowerState, PsciError, PsciQuery};

/// A version of PSCI; a later one compares as greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PsciVersion {
    /// The major number, which changes when callers have to change.
    pub major: u16,
    /// The minor number, which changes when functions are added.
    pub minor: u16,
}

impl PsciVersion {
    /// The first version whose function numbers are fixed. For earlier ones the device
    /// tree gives the numbers.
    pub const OLDEST: PsciVersion = PsciVersion { major: 0, minor: 2 };
}

impl fmt::Display for PsciVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why a machine's PSCI can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PsciInitError {
    /// Firmware refused PSCI_VERSION, as PSCI 0.1 does.
    NoVersion(PsciError),
    /// Older than [`PsciVersion::OLDEST`].
    TooOld(PsciVersion),
}

impl fmt::Display for PsciInitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVersion(error) => write!(f, "PSCI does not tell its version: {error}"),
            Self::TooOld(version) => {
                write!(
                    f,
                    "PSCI {version} is older than {}, the oldest that can be used",
                    PsciVersion::OLDEST
                )
            }
        }
    }
}

impl core::error::Error for PsciInitError {}

/// Defines a conduit that treats x0 to x17 as clobbered by every call.
///
/// Before version 1.1 of the calling convention, which PSCI 0.2 predates, the
/// callee may change x4 to x17 in 32-bit calls too. The 32-bit calls of `smccc` rely on
/// x8 to x17 being kept, so this makes them by the 64-bit form, which doesn't. A function
/// takes its arguments in the same registers, and a 32-bit result is in w0.
macro_rules! conduit {
    ($name:ident, $call:ident) => {
        struct $name;

        impl Call for $name {
            #[allow(clippy::cast_possible_truncation)] // Results are in w0 to w7.
            fn call32(function: u32, args: [u32; 7]) -> [u32; 8] {
                let mut wide = [0; 17];
                for (wide, arg) in wide.iter_mut().zip(args) {
                    *wide = u64::from(arg);
                }
                let results = $call(function, wide);
                core::array::from_fn(|at| results[at] as u32)
            }

            fn call64(function: u32, args: [u64; 17]) -> [u64; 18] {
                $call(function, args)
            }
        }
    };
}

conduit!(Hvc, hvc64);
conduit!(Smc, smc64);

/// Calls a function of [`psci`] by the conduit `$conduit`.
macro_rules! call {
    ($conduit:expr, $function:ident($($arg:expr),*)) => {{
        traps::count(Trap::Firmware);
        match $conduit {
            Conduit::Hvc => psci::$function::<Hvc>($($arg),*),
            Conduit::Smc => psci::$function::<Smc>($($arg),*),
        }
    }};
}

/// A machine's PSCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Psci {
    conduit: Conduit,
    version: PsciVersion,
}

impl Psci {
    /// Asks for the version of PSCI by `conduit`, and returns the PSCI that answers.
    ///
    /// # Errors
    /// [`PsciInitError`] if none answers, or its version is older than 0.2.
    pub fn new(conduit: Conduit) -> Result<Psci, PsciInitError> {
        let found =
            call!(conduit, version()).map_err(|error| PsciInitError::NoVersion(convert(error)))?;
        let version = PsciVersion {
            major: found.major,
            minor: found.minor,
        };
        if version < PsciVersion::OLDEST {
            return Err(PsciInitError::TooOld(version));
        }
        Ok(Psci { conduit, version })
    }

    /// Returns the version of this PSCI.
    pub const fn version(&self) -> PsciVersion {
        self.version
    }

    /// Asks firmware, and returns what it puts into the register.
    pub fn ask(&self, query: PsciQuery) -> i64 {
        let (function, argument) = match query {
            PsciQuery::Version => (0x8400_0000, 0),
            PsciQuery::AffinityInfo(cpu) => (0xc400_0004, cpu.raw()),
            PsciQuery::Features(function) => (0x8400_000a, function.into()),
            PsciQuery::MigrateInfoType => (0x8400_0006, 0),
        };
        traps::count(Trap::Firmware);
        let mut args = [0; 17];
        args[0] = argument;
        let results = match self.conduit {
            Conduit::Hvc => Hvc::call64(function, args),
            Conduit::Smc => Smc::call64(function, args),
        };
        #[allow(clippy::cast_possible_truncation)] // PSCI's answers are in w0, with a sign.
        let answer = results[0] as u32;
        answer.cast_signed().into()
    }

    /// Returns the CPU on which a trusted OS runs that can use one CPU only: the CPU that
    /// MIGRATE_INFO_UP_CPU names.
    fn trusted_os_home(&self) -> Result<Mpidr, PsciError> {
        let home = call!(self.conduit, migrate_info_up_cpu());
        // A value with bits outside an affinity's fields is a return code.
        Mpidr::from_reg(home).ok_or_else(|| convert(psci::Error::from(home.cast_signed())))
    }
}

impl CpuOps for Psci {
    unsafe fn cpu_on(&self, target: Mpidr, entry: u64, context: u64) -> Result<(), PsciError> {
        // The caller's cache maintenance and stores complete before the target can read
        // their results (Arm ARM, DSB).
        barrier::dsb(barrier::SY);
        call!(self.conduit, cpu_on(target.raw(), entry, context)).map_err(convert)
    }

    fn cpu_off(&self) -> PsciError {
        barrier::dsb(barrier::SY);
        match call!(self.conduit, cpu_off()) {
            Err(error) => convert(error),
            // A successful CPU_OFF doesn't return. If it does nevertheless, its code 0 is
            // the only thing to report.
            Ok(()) => PsciError::Unknown(0),
        }
    }

    fn can_turn_off(&self, target: Mpidr) -> Result<(), PsciError> {
        match call!(self.conduit, migrate_info_type()) {
            // Type 2, and the answer of firmware that supports no trusted OS.
            Ok(MigrateType::MigrationNotRequired) | Err(psci::Error::NotSupported) => Ok(()),
            // Types 0 and 1: firmware denies CPU_OFF on the CPU of the trusted OS. With
            // type 0 a kernel that drives that OS could have it moved first (MIGRATE);
            // this kernel doesn't.
            Ok(MigrateType::MigrateCapable | MigrateType::NotMigrateCapable) => {
                if self.trusted_os_home()? == target {
                    Err(PsciError::Denied)
                } else {
                    Ok(())
                }
            }
            Err(error) => Err(convert(error)),
        }
    }

    fn affinity_info(&self, target: Mpidr) -> Result<PowerState, PsciError> {
        let level = LowestAffinityLevel::All;
        match call!(self.conduit, affinity_info(target.raw(), level)) {
            Ok(AffinityState::On) => Ok(PowerState::On),
            Ok(AffinityState::Off) => Ok(PowerState::Off),
            Ok(AffinityState::OnPending) => Ok(PowerState::OnPending),
            Err(error) => Err(convert(error)),
        }
    }

    fn system_off(&self) {
        // The result doesn't matter: the caller only needs to know that the call has
        // returned.
        let (Ok(()) | Err(_)) = call!(self.conduit, system_off());
    }

    fn system_reset(&self) {
        // As for `system_off`.
        let (Ok(()) | Err(_)) = call!(self.conduit, system_reset());
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PSCI {} ({})", self.version, self.conduit)
    }
}

/// Returns `error` as the kernel's own type.
const fn convert(error: psci::Error) -> PsciError {
    match error {
        psci::Error::NotSupported => PsciError::NotSupported,
        psci::Error::InvalidParameters => PsciError::InvalidParameters,
        psci::Error::Denied => PsciError::Denied,
        psci::Error::AlreadyOn => PsciError::AlreadyOn,
        psci::Error::OnPending => PsciError::OnPending,
        psci::Error::InternalFailure => PsciError::InternalFailure,
        psci::Error::NotPresent => PsciError::NotPresent,
        psci::Error::Disabled => PsciError::Disabled,
        psci::Error::InvalidAddress => PsciError::InvalidAddress,
        psci::Error::Unknown(code) => PsciError::Unknown(code),
    }
}
