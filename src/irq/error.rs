//! Why an interrupt is refused.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::fmt;

use crate::cpu::CpuMask;
use crate::errno::Errno;
use crate::sched::SpawnError;

/// Why an interrupt was not given out. Nothing has changed, and the handler has been dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestIrqError {
    /// The interrupt controller has no line of this number, or keeps it for itself.
    NoLine(u32),
    /// Each CPU has this one for itself.
    Private(u32),
    /// It has a user already, of this name, and not both share it; or its last user is about
    /// to give it back.
    Busy(u32, Arc<str>),
    /// It has users that share it, and its line triggers in the other way.
    OtherTrigger(u32),
    /// None of the CPUs that it may go to is active.
    NoActiveCpu(CpuMask),
    /// The thread of its handler could not be started.
    Thread(SpawnError),
}

impl RequestIrqError {
    /// Returns the error that Linux's `request_irq` returns.
    ///
    /// # Context
    /// Any.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::NoLine(_) | Self::Private(_) | Self::NoActiveCpu(_) => Errno::Invalid,
            Self::Busy(..) | Self::OtherTrigger(_) => Errno::Busy,
            Self::Thread(SpawnError::OutOfStacks) => Errno::NoMemory,
            Self::Thread(SpawnError::NotActive(_) | SpawnError::NoActiveCpu(_)) => Errno::Invalid,
        }
    }
}

impl fmt::Display for RequestIrqError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLine(intid) => write!(f, "there is no interrupt {intid}"),
            Self::Private(intid) => write!(f, "each CPU has interrupt {intid} for itself"),
            Self::Busy(intid, user) => write!(f, "interrupt {intid} is in use by {user}"),
            Self::OtherTrigger(intid) => {
                write!(
                    f,
                    "interrupt {intid} is shared, and triggers in another way"
                )
            }
            Self::NoActiveCpu(cpus) => write!(f, "none of CPUs {cpus} is active"),
            Self::Thread(error) => write!(f, "no thread for the handler: {error}"),
        }
    }
}

impl core::error::Error for RequestIrqError {}

/// Why an affinity was not set. It is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqAffinityError {
    /// None of these CPUs is active.
    NoActiveCpu(CpuMask),
    /// The interrupt is managed: the kernel decides where it goes.
    Managed(u32),
    /// It has no user.
    Unused(u32),
}

impl IrqAffinityError {
    /// Returns the error that Linux returns for a write to `smp_affinity`.
    ///
    /// # Context
    /// Any.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::NoActiveCpu(_) => Errno::Invalid,
            Self::Managed(_) => Errno::Io,
            Self::Unused(_) => Errno::NoEntry,
        }
    }
}

impl fmt::Display for IrqAffinityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoActiveCpu(cpus) => write!(f, "none of CPUs {cpus} is active"),
            Self::Managed(intid) => write!(f, "the kernel decides where interrupt {intid} goes"),
            Self::Unused(intid) => write!(f, "interrupt {intid} is not in use"),
        }
    }
}

impl core::error::Error for IrqAffinityError {}
