//! The typed view of a checked tree.
//!
//! Each method finds its node and decodes the properties that the kernel needs. Nodes are
//! found by `compatible` or `device_type`, and by path only where the specification fixes
//! one. A node is used only if its `status` and that of every bus above it is "okay", "ok"
//! or missing. The status of a CPU has another meaning ([`CpuStatus`]).

mod address;
mod board_keys;
mod board_power;
mod cells;
mod console;
mod cpus;
mod gic;
mod interrupt;
mod memory;
mod pci;
mod psci;
mod text;
mod timer;
mod virtio;
mod walk;

pub use address::PhysRange;
pub use board_keys::PowerKeyDesc;
pub use board_power::BoardPower;
pub use console::{ConsoleDesc, ConsoleKind};
pub use cpus::{CpuDesc, CpuStatus, EnableMethod};
pub use gic::{GicDesc, MAX_REDISTRIBUTOR_REGIONS, Redistributors};
pub use interrupt::InterruptSpec;
pub use pci::PciHostDesc;
pub use psci::{PsciBinding, PsciDesc};
pub use text::{Text, TextFlaw};
pub use timer::TimerDesc;
pub use virtio::VirtioMmioDesc;

use fdt::Fdt;

use super::check::verify;
use super::error::DtError;
use super::token::Tokens;

/// A checked device tree, with a method for each device that the kernel knows.
#[derive(Clone, Debug)]
pub struct DeviceTree<'a> {
    fdt: Fdt<'a>,
    /// The structure block, whose tokens tell how deep a node is.
    structure: &'a [u8],
}

impl<'a> DeviceTree<'a> {
    /// Returns the tree in `checked`, a copy that [`check`](super::check()) has written.
    ///
    /// The copy is verified once more, in one pass over it, so that no caller can pass an
    /// unchecked blob to `fdt`.
    ///
    /// # Errors
    /// [`DtError::NotCompact`] if `checked` is a well-formed blob but no such copy;
    /// otherwise the error of [`check`](super::check()).
    pub fn new(checked: &'a [u8]) -> Result<Self, DtError> {
        let (verified, blob) = verify(checked)?;
        if !verified.is_compact() {
            return Err(DtError::NotCompact);
        }
        Ok(DeviceTree {
            fdt: Fdt::new(blob).map_err(|_| DtError::NotCompact)?,
            structure: blob.get(verified.header.structure).unwrap_or_default(),
        })
    }

    fn tokens(&self) -> Tokens<'a> {
        Tokens::new(self.structure, 0)
    }

    /// Returns the kernel's command line (`bootargs` of `/chosen`), if the tree has one.
    pub fn bootargs(&self) -> Option<Text<'a>> {
        Some(Text::new(self.find("/chosen")?.property("bootargs")?.value))
    }

    /// Returns the name of the machine (`model` of the root), if the tree has one.
    pub fn model(&self) -> Option<Text<'a>> {
        Some(Text::new(self.find("/")?.property("model")?.value))
    }
}
