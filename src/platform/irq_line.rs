//! The lines of devices at an interrupt controller: shared interrupts and messages.
//!
//! ```text
//!             set_up                unmask                acknowledge
//!    (off) ───────────▶ masked ◀───────────▶ open ─ raised ─▶ pending ───────────▶ active
//!                                   mask                          ▲      end         │
//!                                                                 └── raised again ──┘
//! ```
//! A line is masked or open, and beside that inactive, pending, active, or both of these. A
//! masked line becomes pending as an open one does, and comes when it is open again. The lines
//! of an ITS have no state "active".

#![forbid(unsafe_code)]

use crate::cpu::CpuId;
use crate::platform::{Irq, Trigger};

/// An interrupt of a device, as the device tree or an allocation of messages gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqLine {
    irq: Irq,
    trigger: Trigger,
}

impl IrqLine {
    /// Returns the line whose interrupt number at the GIC (INTID) is `intid`: 16 to 31 for an
    /// interrupt that each CPU has for itself, 32 to 1019 for a shared one, 8192 and up for a
    /// message of an ITS. `None` for other numbers.
    ///
    /// A `GIC_SPI n` of a device tree has the number 32 + n, a `GIC_PPI n` 16 + n.
    ///
    /// # Context
    /// Any.
    pub const fn from_intid(intid: u32, trigger: Trigger) -> Option<IrqLine> {
        match Irq::from_intid(intid) {
            Some(irq) => Some(IrqLine { irq, trigger }),
            None => None,
        }
    }

    /// Returns the interrupt number at the GIC (INTID).
    ///
    /// # Context
    /// Any.
    pub const fn intid(&self) -> u32 {
        self.irq.intid()
    }

    /// Returns whether the line is level or edge triggered.
    ///
    /// # Context
    /// Any.
    pub const fn trigger(&self) -> Trigger {
        self.trigger
    }
}

impl From<IrqLine> for Irq {
    fn from(line: IrqLine) -> Irq {
        line.irq
    }
}

/// An interrupt controller's lines. Its callers are the only ones that change a line, one at a
/// time for each line (`one-changes-a-line` of [`crate::irq`]).
///
/// # Context
/// All methods: any CPU, IRQs masked. They may take a lock of the controller's, under which no
/// other lock is taken.
///
/// # Panics
/// All methods that take a line, if [`LineChip::has_line`] returns false for it.
pub trait LineChip: Sync {
    /// Returns how many shared interrupts there are: their INTIDs are 32 and up.
    fn spi_count(&self) -> usize;

    /// Returns whether `irq` is a line of this controller that software may use. SGIs and
    /// private interrupts are none.
    fn has_line(&self, irq: Irq) -> bool;

    /// Sets up the line `irq`, which is masked: it triggers as `trigger` says and goes to `cpu`,
    /// which has come up at least once. It stays masked.
    fn set_up(&self, irq: Irq, trigger: Trigger, cpu: CpuId);

    /// Masks the line `irq`. No CPU takes it any more once this has returned, as far as the
    /// controller tells; with a GICv2 the CPU that it goes to may take it once more.
    fn mask(&self, irq: Irq);

    /// Opens the line `irq`. If it is pending it comes.
    fn unmask(&self, irq: Irq);

    /// Has the line `irq` go to `cpu`, which has come up at least once. It stays open or masked.
    /// If it is pending it comes, once, and if it is active it goes on to its end where it was
    /// acknowledged.
    fn route(&self, irq: Irq, cpu: CpuId);

    /// Turns the private interrupt `ppi` of this CPU, which is `cpu`, on, for a device. It is off,
    /// and less urgent than wake, panic and the timer.
    ///
    /// # Panics
    /// If `ppi` is not the INTID of a PPI, 16 to 31.
    fn enable_private(&self, cpu: CpuId, ppi: u32, trigger: Trigger);

    /// Turns the private interrupt `ppi` of this CPU, which is `cpu`, off. It may still come once.
    ///
    /// # Panics
    /// As [`LineChip::enable_private`].
    fn disable_private(&self, cpu: CpuId, ppi: u32);

    /// Makes the line `irq` pending, as its device does by an edge.
    fn set_pending(&self, irq: Irq);
}
