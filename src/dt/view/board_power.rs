//! What turns the board off where there is no firmware to ask.

use super::DeviceTree;
use super::address::{PhysRange, mmio};
use super::walk::is_compatible;
use crate::device::BCM_WATCHDOG_SIZE;
use crate::dt::error::{DtError, NodeKind};

/// What the power manager of a Raspberry Pi's chip calls itself, which has the
/// watchdog (`brcm,bcm2835-pm.yaml`).
const BCM_WATCHDOG: [&str; 3] = ["brcm,bcm2835-pm-wdt", "brcm,bcm2835-pm", "brcm,bcm2711-pm"];

/// What turns the board off, and resets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardPower {
    /// The watchdog of the BCM2835 and its successors.
    BcmWatchdog {
        /// The power manager's registers, as the CPU addresses them.
        registers: PhysRange,
    },
}

impl DeviceTree<'_> {
    /// Returns what turns the board off; `None` if nothing does that we know.
    ///
    /// # Errors
    /// What is wrong with the node, if there is one that can't be decoded.
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
