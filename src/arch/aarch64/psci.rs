//! Turning CPUs on and off by PSCI calls to firmware or hypervisor.
//!
//! Two machines can differ in the *conduit*, the instruction that carries the
//! call: `HVC` to a hypervisor, `SMC` to firmware. The device tree says which
//! (`method`); a wrong one is an undefined instruction, or a call to something
//! else.
//!
//! Return codes become [`PsciError`] here and nowhere else, and nothing is
//! retried here.
//!
//! # Sources
//! DEN 0022 (PSCI): PSCI_VERSION, CPU_ON, CPU_OFF, AFFINITY_INFO,
//! MIGRATE_INFO_TYPE, MIGRATE_INFO_UP_CPU, return error codes. DEN 0028
//! (SMCCC): register use.

use core::fmt;

use aarch64_cpu::asm::barrier;
use smccc::psci::{self, AffinityState, LowestAffinityLevel, MigrateType};
use smccc::{Call, hvc64, smc64};

use crate::cpu::Mpidr;
use crate::platform::{Conduit, CpuOps, PowerState, PsciError};

/// A version of PSCI; orders as versions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PsciVersion {
    /// Changes when callers must.
    pub major: u16,
    /// Changes when functions are added.
    pub minor: u16,
}

impl PsciVersion {
    /// The first version whose function numbers are fixed; before it they are
    /// whatever the device tree says.
    pub const OLDEST: PsciVersion = PsciVersion { major: 0, minor: 2 };
}

impl fmt::Display for PsciVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why the PSCI of a machine can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PsciInitError {
    /// PSCI_VERSION was refused, as PSCI 0.1 does.
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

/// A conduit that gives up x0 to x17 on every call.
///
/// Before version 1.1 of the calling convention, which PSCI 0.2 predates, the
/// callee may spoil x4 to x17 in 32-bit calls too. The crate's 32-bit calls
/// count on x8 to x17; these go out through the 64-bit form, which doesn't. The
/// registers that a function takes are the same, and a 32-bit result is in w0.
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

/// Calls a function of [`psci`] by the conduit that this machine has.
macro_rules! call {
    ($conduit:expr, $function:ident($($arg:expr),*)) => {
        match $conduit {
            Conduit::Hvc => psci::$function::<Hvc>($($arg),*),
            Conduit::Smc => psci::$function::<Smc>($($arg),*),
        }
    };
}

/// PSCI as a machine has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Psci {
    conduit: Conduit,
    version: PsciVersion,
}

impl Psci {
    /// Asks for the version by `conduit`.
    ///
    /// # Errors
    /// [`PsciInitError`] if there is none, or it is older than 0.2.
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

    /// Returns the version that [`Psci::new`] was told.
    pub const fn version(&self) -> PsciVersion {
        self.version
    }

    /// Returns where the trusted OS lives that can run on one CPU only. Such a CPU is the
    /// one that MIGRATE_INFO_UP_CPU names.
    fn trusted_os_home(&self) -> Result<Mpidr, PsciError> {
        let home = call!(self.conduit, migrate_info_up_cpu());
        // An affinity has no sign and no flags: what has is a return code.
        Mpidr::from_reg(home).ok_or_else(|| convert(psci::Error::from(home.cast_signed())))
    }
}

impl CpuOps for Psci {
    unsafe fn cpu_on(&self, target: Mpidr, entry: u64, context: u64) -> Result<(), PsciError> {
        // Cache maintenance and stores of the caller are complete before the
        // target can look (Arm ARM, DSB).
        barrier::dsb(barrier::SY);
        call!(self.conduit, cpu_on(target.raw(), entry, context)).map_err(convert)
    }

    fn cpu_off(&self) -> PsciError {
        barrier::dsb(barrier::SY);
        match call!(self.conduit, cpu_off()) {
            Err(error) => convert(error),
            // Success doesn't return. If it does, its code is all there is.
            Ok(()) => PsciError::Unknown(0),
        }
    }

    fn can_turn_off(&self, target: Mpidr) -> Result<(), PsciError> {
        match call!(self.conduit, migrate_info_type()) {
            // Type 2, and what firmware answers that knows of no trusted OS.
            Ok(MigrateType::MigrationNotRequired) | Err(psci::Error::NotSupported) => Ok(()),
            // Types 0 and 1: CPU_OFF is denied where the trusted OS lives. With
            // type 0 it could be asked to move first, which is not ours to do.
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
        // Whatever it says, it has come back, and that is all the caller asks.
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

/// Returns the error as the rest of the kernel knows it.
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
