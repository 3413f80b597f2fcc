//! The device that turns the board off where there is no firmware to do it.

use super::DeviceTree;
use super::address::{PhysRange, mmio};
use super::walk::is_compatible;
use crate::device::BCM_WATCHDOG_SIZE;
use crate::dt::error::{DtError, NodeKind};

/// The `compatible` of the power manager in a Raspberry Pi's chip, which contains the
/// watchdog (`brcm,bcm2835-pm.yaml`).
const BCM_WATCHDOG: [&str; 3] = ["brcm,bcm2835-pm-wdt", "brcm,bcm2835-pm", "brcm,bcm2711-pm"];

/// The device that turns the board off and resets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardPower {
    /// The watchdog of the BCM2835 and its successors.
    BcmWatchdog {
        /// The power manager's registers, as the CPU addresses them.
        registers: PhysRange,
    },
}

impl DeviceTree<'_> {
    /// Returns the device that turns the board off; `None` if the tree has none of a known
    /// kind.
    ///
    /// # Errors
    /// The device's node can't be decoded.
    pub fn board_power(&self) -> Result<Option<BoardPower>, DtError> {
        self.find_map(|path| {
            let found = is_compatible(path.node(), &BCM_WATCHDOG) && path.is_enabled();
            found.then(|| {
                let registers = mmio(path, NodeKind::PowerManager, 0)?;
                let fits =
                    registers.size() >= BCM_WATCHDOG_SIZE && registers.start().is_multiple_of(4);
                if fits {
                    Ok(BoardPower::BcmWatchdog { registers })
                } else {
                    Err(DtError::BadProperty(NodeKind::PowerManager, "reg"))
                }
            })
        })
        .transpose()
    }
}
