//! Why a machine can't be booted, and the reason that `boot_failure_reason` then holds.

use core::fmt;

use crate::arch::aarch64::failure::BootFailure;
use crate::dt::DtError;
use crate::memory::MapError;

/// Why the machine can't be booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyError {
    /// x0 was 0.
    NoDeviceTree,
    /// x0 is not a multiple of 8, which the boot protocol demands.
    MisalignedDeviceTree(usize),
    /// The device tree is unusable.
    DeviceTree(DtError),
    /// The tree has both the registers of a device and RAM at this address.
    DeviceInMemory(usize),
    /// There is not enough free memory; or, for page tables, not in one piece.
    NoMemory {
        /// The size that is needed, in bytes.
        size: u64,
        /// What the memory is for.
        purpose: Purpose,
    },
    /// The address map can't be built.
    Map(MapError),
}

/// What memory is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The stacks of this many CPUs.
    Stacks(usize),
    /// The page tables.
    Tables,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Purpose::Stacks(cpus) => write!(f, "stacks of {cpus} CPUs"),
            Purpose::Tables => f.write_str("page tables"),
        }
    }
}

impl EarlyError {
    /// Returns the reason that `boot_failure_reason` holds after this error.
    pub(super) const fn reason(self) -> BootFailure {
        match self {
            EarlyError::NoDeviceTree
            | EarlyError::MisalignedDeviceTree(_)
            | EarlyError::DeviceTree(_) => BootFailure::BadDeviceTree,
            EarlyError::NoMemory { .. } => BootFailure::NoMemory,
            EarlyError::Map(_) | EarlyError::DeviceInMemory(_) => BootFailure::BadAddressMap,
        }
    }
}

impl From<DtError> for EarlyError {
    fn from(error: DtError) -> Self {
        EarlyError::DeviceTree(error)
    }
}

impl From<MapError> for EarlyError {
    fn from(error: MapError) -> Self {
        EarlyError::Map(error)
    }
}

impl fmt::Display for EarlyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EarlyError::NoDeviceTree => f.write_str("no device tree: x0 is 0 at entry"),
            EarlyError::MisalignedDeviceTree(address) => {
                write!(
                    f,
                    "bad device tree: its address {address:#x} is not a multiple of 8"
                )
            }
            EarlyError::DeviceTree(error) => write!(f, "bad device tree: {error}"),
            EarlyError::DeviceInMemory(address) => write!(
                f,
                "bad device tree: a device at {address:#x}, where it has memory"
            ),
            EarlyError::NoMemory { size, purpose } => {
                write!(f, "no free memory of {size} bytes for the {purpose}")
            }
            EarlyError::Map(error) => write!(f, "no address map: {error}"),
        }
    }
}
