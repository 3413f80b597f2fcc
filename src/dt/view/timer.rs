//! The generic timer.

use super::DeviceTree;
use super::cells::cell_property;
use super::text::texts;
use super::walk::{Path, is_compatible};
use crate::dt::error::{DtError, NodeKind};
use crate::platform::{Irq, Trigger};

/// The `compatible` of the generic timer. Trees for 32-bit software use the second one.
const COMPATIBLE: [&str; 2] = ["arm,armv8-timer", "arm,armv7-timer"];

/// Index of the virtual timer's interrupt in the node's interrupts: it comes after those
/// of the secure and the non-secure physical timer (`arm,arch_timer.yaml`).
const VIRTUAL: usize = 2;

/// The generic timer, as the tree describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerDesc {
    /// INTID of the virtual timer's private interrupt.
    pub virtual_ppi: u32,
    /// How that interrupt's line is triggered.
    pub trigger: Trigger,
    /// The counter's frequency in Hz. A tree has it only where firmware doesn't set
    /// CNTFRQ_EL0 correctly.
    pub clock_frequency: Option<u32>,
}

impl<'a> DeviceTree<'a> {
    /// Returns the generic timer of the CPUs.
    ///
    /// # Errors
    /// [`DtError::NodeMissing`] if the tree has no enabled timer; another error if its
    /// virtual interrupt can't be decoded or isn't private.
    pub fn timer(&self) -> Result<TimerDesc, DtError> {
        self.find_map(|path| {
            let found = is_compatible(path.node(), &COMPATIBLE) && path.is_enabled();
            found.then(|| self.read_timer(path))
        })
        .unwrap_or(Err(DtError::NodeMissing(NodeKind::Timer)))
    }

    fn read_timer(&self, path: &Path<'_, 'a>) -> Result<TimerDesc, DtError> {
        let kind = NodeKind::Timer;
        let name = "interrupt-names";
        let index = match path.node().property(name) {
            None => VIRTUAL,
            Some(names) => texts(names.value)
                .position(|name| name == b"virt")
                .ok_or(DtError::BadProperty(kind, name))?,
        };
        let interrupt = self.interrupt(path, kind, index)?;
        let Irq::Ppi(virtual_ppi) = interrupt.irq else {
            return Err(DtError::BadProperty(kind, "interrupts"));
        };
        Ok(TimerDesc {
            virtual_ppi,
            trigger: interrupt.trigger,
            clock_frequency: cell_property(path.node(), kind, "clock-frequency")?,
        })
    }
}
