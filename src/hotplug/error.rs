//! Why an operation failed, under the errno names that Linux users know.

use core::fmt;

use crate::cpu::CpuId;
use crate::errno::Errno;
use crate::hotplug::{Awaited, HotplugDisabled, Quarantine, StepName, SyncState};
use crate::platform::{IrqChipError, OutOfStacks, PsciError};
use crate::sched::lock::WouldDeadlock;
use crate::sched::{SpawnError, ThreadName};

const fn errno_of_psci(error: PsciError) -> Errno {
    match error {
        PsciError::NotSupported => Errno::NotSupported,
        PsciError::InvalidParameters | PsciError::InvalidAddress => Errno::Invalid,
        PsciError::Denied => Errno::NotPermitted,
        PsciError::AlreadyOn | PsciError::OnPending => Errno::Again,
        PsciError::InternalFailure
        | PsciError::NotPresent
        | PsciError::Disabled
        | PsciError::Unknown(_) => Errno::Io,
    }
}

/// Why a CPU turned itself off again instead of saying ALIVE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApRefusal {
    /// It has no 4 KiB pages.
    Granule,
    /// Its physical addresses are shorter than the boot CPU's.
    PhysicalRange,
    /// It was started at an exception level that we can't come from.
    ExceptionLevel(u32),
    /// Its affinity is not the one that it was started under.
    WrongMpidr,
    /// Its interrupt controller part is unusable.
    IrqChip(IrqChipError),
    /// A reason that this kernel doesn't know.
    Unknown(u32),
}

impl fmt::Display for ApRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApRefusal::Granule => f.write_str("it has no 4 KiB translation granule"),
            ApRefusal::PhysicalRange => {
                f.write_str("its physical address range is smaller than the boot CPU's")
            }
            ApRefusal::ExceptionLevel(level) => write!(f, "it was started at EL{level}"),
            ApRefusal::WrongMpidr => f.write_str("it is not the CPU that was asked for"),
            ApRefusal::IrqChip(error) => fmt::Display::fmt(error, f),
            ApRefusal::Unknown(code) => write!(f, "reason {code}"),
        }
    }
}

/// Why a step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepError {
    /// A failure that was asked for.
    Injected,
    /// No stack is left.
    OutOfStacks,
    /// Firmware refused CPU_ON.
    Psci(PsciError),
    /// The CPU did not say ALIVE in time; it may still.
    NeverArrived,
    /// It refused itself. It is off, unless firmware doesn't say so: then it is quarantined,
    /// and the operation ends with [`CpuUpError::NotUndone`].
    RefusedItself(ApRefusal),
    /// It has not said DEAD, so it can't be started: what its handshake says instead.
    NotDead(SyncState),
    /// The callback of a step that was installed has refused.
    Refused(Errno),
    /// The deadline had passed when it ended.
    Late,
    /// At the deadline this thread was still pinned to the CPU.
    Pinned(ThreadName),
    /// At the deadline this CPU was still in a section with preemption off.
    NotQuiescent(CpuId),
}

impl StepError {
    /// Returns the errno for it.
    pub const fn errno(self) -> Errno {
        match self {
            StepError::Injected | StepError::NotDead(_) => Errno::Again,
            StepError::OutOfStacks => Errno::NoMemory,
            StepError::Psci(error) => errno_of_psci(error),
            StepError::NeverArrived | StepError::RefusedItself(_) => Errno::Io,
            StepError::Refused(errno) => errno,
            StepError::Late | StepError::Pinned(_) | StepError::NotQuiescent(_) => Errno::TimedOut,
        }
    }
}

impl From<OutOfStacks> for StepError {
    fn from(_: OutOfStacks) -> Self {
        StepError::OutOfStacks
    }
}

impl From<SpawnError> for StepError {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::OutOfStacks => StepError::OutOfStacks,
            SpawnError::NotActive(_) | SpawnError::NoActiveCpu(_) => {
                panic!("BUG: a per-CPU thread was refused as an ordinary one: {error}")
            }
        }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepError::Injected => f.write_str("injected failure"),
            StepError::OutOfStacks => fmt::Display::fmt(&OutOfStacks, f),
            StepError::Psci(error) => write!(f, "CPU_ON refused: {error}"),
            StepError::NeverArrived => f.write_str("failed to come online: it never arrived"),
            StepError::RefusedItself(reason) => write!(f, "refused itself: {reason}"),
            StepError::NotDead(state) => {
                write!(f, "it has not said DEAD, its handshake is {}", state.name())
            }
            StepError::Refused(errno) => write!(f, "it refused: {errno}"),
            StepError::Late => f.write_str("it took until after the deadline"),
            StepError::Pinned(thread) => {
                write!(
                    f,
                    "thread {thread} was pinned to the CPU until the deadline"
                )
            }
            StepError::NotQuiescent(cpu) => {
                write!(
                    f,
                    "CPU{cpu} was in a section with preemption off until the deadline"
                )
            }
        }
    }
}

impl core::error::Error for StepError {}

/// What is not as it was before an operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The CPU is online with the steps up to this one: a second step failed on the way
    /// back. It can be taken on, up or down.
    HalfWay(StepName),
    /// The CPU is offline, but was not seen to go.
    Quarantined(Quarantine),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Left::HalfWay(step) => write!(f, "half way, at {step}"),
            Left::Quarantined(quarantine) => write!(f, "quarantined: {quarantine}"),
        }
    }
}

/// Why a CPU did not come up. It is as it was before, but for two cases: after
/// [`StepError::NeverArrived`] it is quarantined, and with [`CpuUpError::NotUndone`] a
/// [`Left`] says how it is, half way or quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuUpError {
    /// The machine has no CPU of this number.
    NoSuchCpu(usize),
    /// The calling thread is one that the operation would wait for: a callback of hotplug,
    /// a service, or a thread that holds the lock of the CPUs. Nothing has happened.
    WouldDeadlock(WouldDeadlock),
    /// Hotplug is disabled. Nothing has happened.
    Disabled(HotplugDisabled),
    /// A step failed, and all before it were undone.
    Step {
        /// The CPU.
        cpu: CpuId,
        /// The step's name.
        step: StepName,
        /// What it said.
        error: StepError,
    },
    /// A step failed, and not all before it could be undone.
    NotUndone {
        /// The CPU.
        cpu: CpuId,
        /// The step's name.
        step: StepName,
        /// What it said.
        error: StepError,
        /// How the CPU is.
        left: Left,
    },
}

impl CpuUpError {
    /// Returns the errno for it.
    pub const fn errno(&self) -> Errno {
        match self {
            CpuUpError::NoSuchCpu(_) => Errno::Invalid,
            CpuUpError::WouldDeadlock(_) => Errno::Deadlock,
            CpuUpError::Disabled(_) => Errno::Busy,
            CpuUpError::Step { error, .. } => error.errno(),
            CpuUpError::NotUndone { .. } => Errno::Io,
        }
    }
}

impl fmt::Display for CpuUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CpuUpError::NoSuchCpu(number) => write!(f, "CPU {number} does not exist"),
            CpuUpError::WouldDeadlock(why) => {
                write!(f, "a CPU can not be brought up by a thread that {why}")
            }
            CpuUpError::Disabled(why) => fmt::Display::fmt(why, f),
            CpuUpError::Step { cpu, step, error } => {
                write!(f, "CPU{cpu} UP state {step} failed: {error}")
            }
            CpuUpError::NotUndone {
                cpu,
                step,
                error,
                left,
            } => write!(f, "CPU{cpu} UP state {step} failed: {error}; it is {left}"),
        }
    }
}

impl core::error::Error for CpuUpError {}

impl From<WouldDeadlock> for CpuUpError {
    fn from(why: WouldDeadlock) -> Self {
        CpuUpError::WouldDeadlock(why)
    }
}

impl From<HotplugDisabled> for CpuUpError {
    fn from(why: HotplugDisabled) -> Self {
        CpuUpError::Disabled(why)
    }
}

/// Why a CPU did not go down. It is as it was before, but for three cases: with
/// [`CpuDownError::NotUndone`] a [`Left`] says how it is; after [`CpuDownError::NotDead`] and
/// [`CpuDownError::NotOff`] it is offline and quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuDownError {
    /// The machine has no CPU of this number.
    NoSuchCpu(usize),
    /// The calling thread is one that the operation would wait for: a callback of hotplug,
    /// a service, or a thread that holds the lock of the CPUs. Nothing has happened.
    WouldDeadlock(WouldDeadlock),
    /// Hotplug is disabled. Nothing has happened.
    Disabled(HotplugDisabled),
    /// It is the last one online, or the last on which threads are placed, because all others
    /// rest half way.
    LastOnline(CpuId),
    /// Ordinary threads are bound to it.
    BoundThreads {
        /// The CPU.
        cpu: CpuId,
        /// How many.
        threads: u32,
    },
    /// Firmware would not turn it off, as it answered when control asked before the stop.
    WouldNotTurnOff {
        /// The CPU.
        cpu: CpuId,
        /// What firmware said.
        error: PsciError,
    },
    /// The deadline came, and the machine was not stopped yet. All steps were taken again.
    Late {
        /// The CPU.
        cpu: CpuId,
        /// What it had waited for.
        awaited: Awaited,
    },
    /// A step failed, and all before it were taken again.
    Step {
        /// The CPU.
        cpu: CpuId,
        /// The step's name.
        step: StepName,
        /// What it said.
        error: StepError,
    },
    /// A step failed, and not all before it could be taken again.
    NotUndone {
        /// The CPU.
        cpu: CpuId,
        /// The step's name.
        step: StepName,
        /// What it said.
        error: StepError,
        /// How the CPU is.
        left: Left,
    },
    /// It left `online`, but has not said DEAD: it is quarantined.
    NotDead {
        /// The CPU.
        cpu: CpuId,
        /// What its handshake says instead.
        state: SyncState,
    },
    /// It has said DEAD, but firmware doesn't say OFF: it is quarantined.
    NotOff {
        /// The CPU.
        cpu: CpuId,
        /// What firmware answered to CPU_OFF, if the CPU has told.
        refused: Option<PsciError>,
    },
    /// It is offline and has been quarantined, by an earlier operation, and that is not
    /// over.
    Quarantined {
        /// The CPU.
        cpu: CpuId,
        /// Why.
        quarantine: Quarantine,
    },
}

impl CpuDownError {
    /// Returns the errno for it.
    pub const fn errno(&self) -> Errno {
        match self {
            CpuDownError::NoSuchCpu(_) => Errno::Invalid,
            CpuDownError::WouldDeadlock(_) => Errno::Deadlock,
            CpuDownError::Disabled(_)
            | CpuDownError::LastOnline(_)
            | CpuDownError::BoundThreads { .. }
            | CpuDownError::Quarantined { .. } => Errno::Busy,
            CpuDownError::Late { .. } => Errno::TimedOut,
            CpuDownError::WouldNotTurnOff { error, .. } => errno_of_psci(*error),
            CpuDownError::Step { error, .. } => error.errno(),
            CpuDownError::NotUndone { .. }
            | CpuDownError::NotDead { .. }
            | CpuDownError::NotOff { .. } => Errno::Io,
        }
    }
}

impl fmt::Display for CpuDownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CpuDownError::NoSuchCpu(number) => write!(f, "CPU {number} does not exist"),
            CpuDownError::WouldDeadlock(why) => {
                write!(f, "a CPU can not be taken down by a thread that {why}")
            }
            CpuDownError::Disabled(why) => fmt::Display::fmt(why, f),
            CpuDownError::LastOnline(cpu) => write!(f, "CPU{cpu} is the last enabled CPU"),
            CpuDownError::BoundThreads { cpu, threads } => {
                write!(f, "{threads} threads are bound to CPU{cpu}")
            }
            CpuDownError::WouldNotTurnOff { cpu, error } => {
                write!(f, "CPU{cpu} can not be turned off: {error}")
            }
            CpuDownError::Late { cpu, awaited } => write!(f, "CPU{cpu} stays: {awaited}"),
            CpuDownError::Step { cpu, step, error } => {
                write!(f, "CPU{cpu} DOWN state {step} failed: {error}")
            }
            CpuDownError::NotUndone {
                cpu,
                step,
                error,
                left,
            } => write!(
                f,
                "CPU{cpu} DOWN state {step} failed: {error}; it is {left}"
            ),
            CpuDownError::NotDead { cpu, state } => write!(
                f,
                "CPU{cpu} failed to report dead state ({}): quarantined",
                state.name()
            ),
            CpuDownError::NotOff { cpu, refused } => write!(
                f,
                "CPU{cpu} may not have shut down cleanly ({}): quarantined",
                Quarantine::NotOff(*refused)
            ),
            CpuDownError::Quarantined { cpu, quarantine } => {
                write!(f, "CPU{cpu} is quarantined: {quarantine}")
            }
        }
    }
}

impl core::error::Error for CpuDownError {}

impl From<WouldDeadlock> for CpuDownError {
    fn from(why: WouldDeadlock) -> Self {
        CpuDownError::WouldDeadlock(why)
    }
}

impl From<HotplugDisabled> for CpuDownError {
    fn from(why: HotplugDisabled) -> Self {
        CpuDownError::Disabled(why)
    }
}

/// Why a failure can't be injected at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailError {
    /// There is no such step.
    NoSuchStep,
    /// Neither side of it can fail.
    CannotFail,
}

impl fmt::Display for FailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailError::NoSuchStep => "no such step",
            FailError::CannotFail => "neither side of this step can fail",
        })
    }
}
