//! Why a step was not installed, or not removed.

use core::fmt;

use crate::cpu::CpuId;
use crate::errno::Errno;
use crate::hotplug::{StepError, StepName};
use crate::sched::lock::WouldDeadlock;

/// Why a step or an instance was not installed. Nothing is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallError {
    /// The calling thread is one that hotplug waits for: a callback, a service, or a thread
    /// that holds the lock of the CPUs. No callback was called.
    WouldDeadlock(WouldDeadlock),
    /// No slot of the table is free. No callback was called.
    NoFreeSlot,
    /// The step of this instance was removed. No callback was called.
    StepRemoved,
    /// The startup failed on one CPU. On the CPUs before it the teardown was called.
    Step {
        /// The CPU.
        cpu: CpuId,
        /// The step's name.
        step: StepName,
        /// What it said.
        error: StepError,
    },
}

impl InstallError {
    /// Returns the errno for it.
    pub const fn errno(self) -> Errno {
        match self {
            InstallError::WouldDeadlock(_) => Errno::Deadlock,
            InstallError::NoFreeSlot => Errno::NoSpace,
            InstallError::StepRemoved => Errno::Invalid,
            InstallError::Step { error, .. } => error.errno(),
        }
    }
}

impl From<WouldDeadlock> for InstallError {
    fn from(why: WouldDeadlock) -> Self {
        InstallError::WouldDeadlock(why)
    }
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstallError::WouldDeadlock(why) => {
                write!(f, "a step can not be installed by a thread that {why}")
            }
            InstallError::NoFreeSlot => f.write_str("no slot of the state table is free"),
            InstallError::StepRemoved => f.write_str("the step of this instance was removed"),
            InstallError::Step { cpu, step, error } => {
                write!(f, "{step} could not be installed: CPU{cpu}: {error}")
            }
        }
    }
}

impl core::error::Error for InstallError {}

/// A step or an instance could not be removed, because the calling thread is one that hotplug
/// waits for. It is still installed.
#[must_use = "it holds the handle, which removes the step when it is dropped"]
pub struct NotRemoved<H> {
    /// The handle, to try again elsewhere.
    pub handle: H,
    /// Why.
    pub why: WouldDeadlock,
}

impl<H> NotRemoved<H> {
    /// Returns the errno for it.
    pub const fn errno(&self) -> Errno {
        Errno::Deadlock
    }
}

impl<H> fmt::Debug for NotRemoved<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotRemoved")
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

impl<H> fmt::Display for NotRemoved<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.why;
        write!(f, "a step can not be removed by a thread that {why}")
    }
}

impl<H> core::error::Error for NotRemoved<H> {}
