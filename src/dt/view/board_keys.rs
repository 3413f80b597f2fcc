//! The clock with the time of day, and the key that turns the machine off.

use super::DeviceTree;
use super::address::{PhysRange, mmio};
use super::cells::{Cells, cell_property};
use super::interrupt::InterruptSpec;
use super::walk::{Path, is_compatible};
use crate::dt::error::{DtError, NodeKind};

/// The size of the registers of a PL031 and of a PL061 that a driver uses, in bytes.
const PL031_SIZE: u64 = 4;
const PL061_SIZE: u64 = 0x420;

/// How many lines a PL061 has.
const PL061_LINES: u32 = 8;

/// The code of the power key (Linux, `input-event-codes.h`, KEY_POWER).
const KEY_POWER: u32 = 116;

/// The flag of a line that is low while its key is down (Linux, `dt-bindings/gpio/gpio.h`).
const ACTIVE_LOW: u32 = 1;

/// A power key on a line of a PL061.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerKeyDesc {
    /// The registers of the PL061.
    pub registers: PhysRange,
    /// The interrupt of the PL061.
    pub interrupt: InterruptSpec,
    /// The line of the key, less than 8.
    pub line: u8,
    /// Whether the line is low while the key is down.
    pub active_low: bool,
}

impl<'a> DeviceTree<'a> {
    /// Returns the registers of the clock with the time of day, a PL031; `None` if the tree has
    /// none.
    ///
    /// # Errors
    /// It can't be decoded.
    #[inline(never)] // A walk has a frame of 4 KiB, and the boot stack isn't large.
    pub fn rtc(&self) -> Result<Option<PhysRange>, DtError> {
        self.find_map(|path| {
            let found = is_compatible(path.node(), &["arm,pl031"]) && path.is_enabled();
            found.then(|| registers(path, NodeKind::Rtc, PL031_SIZE))
        })
        .transpose()
    }

    /// Returns the key that turns the machine off, if it is on a PL061 (`gpio-keys.yaml`); `None` if
    /// the tree has none.
    ///
    /// # Errors
    /// The key or its PL061 can't be decoded.
    pub fn power_key(&self) -> Result<Option<PowerKeyDesc>, DtError> {
        let Some(key) = self.key() else {
            return Ok(None);
        };
        let (phandle, line, flags) = key?;
        self.pl061(phandle, line, flags)
    }

    /// Returns the phandle of the power key's controller, the number of its line there, and flags.
    #[inline(never)] // As above.
    fn key(&self) -> Option<Result<(u32, u32, u32), DtError>> {
        let kind = NodeKind::PowerKey;
        let bad = DtError::BadProperty(kind, "gpios");
        self.find_map(|path| {
            let keys = path.parents().next()?;
            if !is_compatible(keys, &["gpio-keys"]) || !path.is_enabled() {
                return None;
            }
            match cell_property(path.node(), kind, "linux,code") {
                Ok(Some(KEY_POWER)) => {}
                Ok(_) => return None,
                Err(error) => return Some(Err(error)),
            }
            let Some(property) = path.node().property("gpios") else {
                return Some(Err(DtError::PropertyMissing(kind, "gpios")));
            };
            let mut cells = Cells(property.value);
            let mut next = || cells.cell().ok_or(bad);
            Some((|| Ok((next()?, next()?, next()?)))())
        })
    }

    #[inline(never)] // As above.
    fn pl061(&self, phandle: u32, line: u32, flags: u32) -> Result<Option<PowerKeyDesc>, DtError> {
        let kind = NodeKind::PowerKey;
        self.find_map(|path| {
            let own = cell_property(path.node(), kind, "phandle").ok().flatten();
            let found = own == Some(phandle)
                && is_compatible(path.node(), &["arm,pl061"])
                && path.is_enabled();
            found.then(|| {
                let line = u8::try_from(line)
                    .ok()
                    .filter(|line| u32::from(*line) < PL061_LINES)
                    .ok_or(DtError::BadProperty(kind, "gpios"))?;
                Ok(PowerKeyDesc {
                    registers: registers(path, kind, PL061_SIZE)?,
                    interrupt: self.interrupt(path, kind, 0)?,
                    line,
                    active_low: flags & ACTIVE_LOW != 0,
                })
            })
        })
        .transpose()
    }
}

/// Returns the registers of the node at `path`, at least `least` bytes at a multiple of 4.
fn registers(path: &Path<'_, '_>, kind: NodeKind, least: u64) -> Result<PhysRange, DtError> {
    let registers = mmio(path, kind, 0)?;
    if registers.size() < least || !registers.start().is_multiple_of(4) {
        return Err(DtError::BadProperty(kind, "reg"));
    }
    Ok(registers)
}
