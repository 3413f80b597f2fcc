//! The error of setting up a GICv2.

use core::fmt;

/// Why a machine's GICv2 can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicInitError {
    /// A register address is 0 or not aligned to 4 KiB.
    BadAddress(u64),
    /// GICD_CTLR doesn't keep the bit that turns the distributor on.
    StaysOff,
}

impl fmt::Display for GicInitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress(address) => {
                write!(f, "{address:#x} can not be the address of GIC registers")
            }
            Self::StaysOff => f.write_str("the distributor can not be turned on (GICD_CTLR)"),
        }
    }
}

impl core::error::Error for GicInitError {}
