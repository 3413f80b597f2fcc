//! The error of setting up a GICv3.

use core::fmt;

use crate::config::MAX_CPUS;
use crate::cpu::Mpidr;
use crate::device::gic::BadStride;
use crate::smp::FanOutError;

/// Why a machine's GICv3 can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicInitError {
    /// A register address is 0 or not aligned to 4 KiB.
    BadAddress(u64),
    /// The device tree's `redistributor-stride` is unusable.
    BadStride,
    /// GICD_PIDR2 holds this revision, which is neither 3 nor 4.
    WrongRevision(u8),
    /// A write to GICD_CTLR has not completed within its time limit.
    WritePending,
    /// More CPUs than [`MAX_CPUS`].
    TooManyCpus(usize),
    /// The running CPU is not among those given, or has no redistributor.
    ThisCpuUnknown(Mpidr),
    /// A CPU can't be reached by SGI.
    FanOut(FanOutError),
}

impl fmt::Display for GicInitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress(address) => {
                write!(f, "{address:#x} can not be the address of GIC registers")
            }
            Self::BadStride => f.write_str("redistributor-stride is not a multiple of 64 KiB"),
            Self::WrongRevision(revision) => {
                write!(f, "the GIC's revision is {revision}, neither 3 nor 4")
            }
            Self::WritePending => f.write_str("a write to GICD_CTLR does not complete"),
            Self::TooManyCpus(count) => write!(f, "{count} CPUs are more than {MAX_CPUS}"),
            Self::ThisCpuUnknown(mpidr) => write!(
                f,
                "the boot CPU, {mpidr}, is not in the device tree or has no redistributor"
            ),
            Self::FanOut(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for GicInitError {}

impl From<BadStride> for GicInitError {
    fn from(_: BadStride) -> Self {
        Self::BadStride
    }
}

impl From<FanOutError> for GicInitError {
    fn from(error: FanOutError) -> Self {
        Self::FanOut(error)
    }
}
