//! The typed view of a checked tree.
//!
//! Each method finds its node and decodes what the kernel wants to know of it.
//! Nodes are looked for by what they are (`compatible`, `device_type`), by path
//! only where the specification fixes one. A node counts only if its `status`
//! and that of every bus above it is "okay", "ok" or missing; a CPU's status means
//! something else ([`CpuStatus`]).

mod address;
mod board_power;
mod cells;
mod console;
mod cpus;
mod gic;
mod interrupt;
mod memory;
mod psci;
mod text;
mod timer;
mod walk;

pub use address::PhysRange;
pub use board_power::BoardPower;
pub use console::{ConsoleDesc, ConsoleKind};
pub use cpus::{CpuDesc, CpuStatus, EnableMethod};
pub use gic::{GicDesc, MAX_REDISTRIBUTOR_REGIONS, Redistributors};
pub use interrupt::InterruptSpec;
pub use psci::{PsciBinding, PsciDesc};
pub use text::{Text, TextFlaw};
pub use timer::TimerDesc;

use fdt::Fdt;

use super::check::verify;
use super::error::DtError;
use super::token::Tokens;

/// A device tree that can be asked what the machine has.
#[derive(Clone, Debug)]
pub struct DeviceTree<'a> {
    fdt: Fdt<'a>,
    /// The structure block, to know how deep a node is.
    structure: &'a [u8],
}

impl<'a> DeviceTree<'a> {
    /// Returns the tree in `checked`, a copy that [`check`](super::check()) has written.
    ///
    /// It is verified once more, which costs one pass over it: so no caller can
    /// get an unchecked blob to `fdt`.
    ///
    /// # Errors
    /// [`DtError::NotCompact`] for a well-formed blob that isn't such a copy;
    /// what [`check`](super::check()) says of any other.
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

    /// Returns the kernel's command line (`/chosen`, `bootargs`), if there is one.
    pub fn bootargs(&self) -> Option<Text<'a>> {
        Some(Text::new(self.find("/chosen")?.property("bootargs")?.value))
    }

    /// Returns what the machine calls itself (`model` of the root), if it does.
    pub fn model(&self) -> Option<Text<'a>> {
        Some(Text::new(self.find("/")?.property("model")?.value))
    }
}
