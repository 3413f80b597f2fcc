//! The serial console.

use super::DeviceTree;
use super::address::{PhysRange, mmio};
use super::cells;
use super::interrupt::InterruptSpec;
use super::walk::{Path, is_compatible};
use crate::dt::error::{DtError, NodeKind};

/// What a console is driven as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleKind {
    /// Arm's PL011.
    Pl011,
    /// The auxiliary UART of the BCM2835 family.
    MiniUart,
    /// Something else.
    Other,
}

/// The console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsoleDesc {
    /// What it is driven as.
    pub kind: ConsoleKind,
    /// Its registers, as the CPU addresses them.
    pub registers: PhysRange,
    /// Its interrupt. A console without one can still be written to and polled,
    /// so what is wrong with it is no error of the whole.
    pub interrupt: Result<InterruptSpec, DtError>,
}

impl<'a> DeviceTree<'a> {
    /// The console: what `stdout-path` names if it is enabled and of a known
    /// kind, else the first usable PL011 of the tree, else what `stdout-path`
    /// names after all. `None` if there is nothing of all that.
    ///
    /// # Errors
    /// What is wrong with the node that `stdout-path` names, if there is no
    /// PL011 to take instead.
    pub fn console(&self) -> Result<Option<ConsoleDesc>, DtError> {
        let named = self.stdout();
        if let Some(Ok(console)) = &named
            && console.kind != ConsoleKind::Other
        {
            return Ok(Some(*console));
        }
        match self.first_pl011() {
            Some(console) => Ok(Some(console)),
            None => named.transpose(),
        }
    }

    /// The first PL011 that can be used.
    #[inline(never)] // A walk has a frame of 4 KiB, and the boot stack isn't large.
    fn first_pl011(&self) -> Option<ConsoleDesc> {
        self.find_map(|path| {
            if !is_compatible(path.node(), &["arm,pl011"]) || !path.is_enabled() {
                return None;
            }
            self.read_console(path).ok()
        })
    }

    /// The console that `stdout-path` names, if it names one that is enabled.
    #[inline(never)] // As above.
    fn stdout(&self) -> Option<Result<ConsoleDesc, DtError>> {
        let chosen = self.find("/chosen")?;
        let name = chosen
            .property("stdout-path")
            .or_else(|| chosen.property("linux,stdout-path"))?;
        // Options such as ":115200n8" follow the path; no path has a colon.
        let name = cells::text(name.value)?.split(':').next()?;
        let path = if name.starts_with('/') {
            name
        } else {
            cells::text(self.find("/aliases")?.property(name)?.value)?
        };
        self.at_path(path, |path| {
            path.is_enabled().then(|| self.read_console(path))
        })?
    }

    fn read_console(&self, path: &Path<'_, 'a>) -> Result<ConsoleDesc, DtError> {
        let kind = if is_compatible(path.node(), &["arm,pl011"]) {
            ConsoleKind::Pl011
        } else if is_compatible(path.node(), &["brcm,bcm2835-aux-uart"]) {
            ConsoleKind::MiniUart
        } else {
            ConsoleKind::Other
        };
        Ok(ConsoleDesc {
            kind,
            registers: mmio(path, NodeKind::Console, 0)?,
            interrupt: self.interrupt(path, NodeKind::Console, 0),
        })
    }
}
