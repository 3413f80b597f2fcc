//! The CPU interface of a GICv2: what one CPU takes its interrupts from.
//!
//! The registers are banked: at the same address each CPU finds its own.
//!
//! They are memory of type Device-nGnRE: accesses of one CPU to one device stay in
//! order, but a write is over for the CPU before the device has it. What must have
//! happened on return is therefore read back. The end of an interrupt need not: what
//! this interface is asked next comes behind it, and until it has arrived the GIC
//! holds back what is no more urgent, which is late then and not lost.
//!
//! # Sources
//! IHI 0048, CPU interface register descriptions: GICC_CTLR (its views), GICC_PMR,
//! GICC_BPR, GICC_IAR, GICC_EOIR, GICC_RPR; Interrupt handling and prioritization,
//! "Behavior of GICv2 in a multiprocessor implementation" for the sender in
//! GICC_IAR.

use core::ptr::NonNull;

use aarch64_cpu::asm::barrier;
use arm_gic::UniqueMmioPointer;
use arm_gic::gicv2::registers::Gicc;
use safe_mmio::{field, field_shared};

use super::{GicInitError, device_pointer};
use crate::config::PMR_OPEN;
use crate::platform::IrqChipError;

/// GICC_CTLR: our group on. The bits that are 0: interrupts of ours come as IRQ,
/// never as FIQ; nothing is acknowledged for another group; nothing bypasses the
/// GIC's own rules; the write to GICC_EOIR drops the priority and deactivates.
const ON: u32 = 1;

/// GICC_IAR: the INTID, without the number of the SGI's sender above it.
const INTID: u32 = 0x3ff;

/// INTIDs from here on stand for no interrupt of ours; they are not ended.
const FIRST_SPECIAL: u32 = 1020;

/// The CPU interfaces, one at a time: that of the CPU that this runs on.
///
/// A pointer to the registers is made for each access, with IRQs masked, and each
/// CPU's reaches the registers of that CPU; so no two reach the same.
#[derive(Debug)]
pub(super) struct CpuInterface {
    base: NonNull<Gicc>,
}

impl CpuInterface {
    /// Returns the CPU interfaces at `base`. Touches nothing.
    ///
    /// # Errors
    /// [`GicInitError::BadAddress`].
    ///
    /// # Safety
    /// `base` must be a GICv2's CPU interface, mapped as device memory for ever and
    /// used by nothing else.
    pub(super) unsafe fn new(base: u64) -> Result<CpuInterface, GicInitError> {
        let base = device_pointer(base)?;
        Ok(CpuInterface { base })
    }

    fn registers(&self) -> UniqueMmioPointer<'_, Gicc> {
        // SAFETY: the caller of `new` promised a CPU interface that is nothing
        // else's; that no two pointers are in use at once is said at the type.
        unsafe { UniqueMmioPointer::new(self.base) }
    }

    /// Puts it into a known state, with no interrupt let through yet.
    pub(super) fn init(&self) {
        self.close();
        // The smallest binary point that is implemented: each priority a level of
        // its own.
        let mut registers = self.registers();
        let mut binary_point = field!(registers, bpr);
        // SAFETY: the register takes every value, and touches no memory.
        unsafe { binary_point.write_unsafe(0) };
    }

    /// Lets interrupts through, the priority mask open.
    ///
    /// # Errors
    /// [`IrqChipError::StaleRunningPriority`] if an interrupt of another incarnation
    /// is still active; nothing of its priority or below would come.
    /// [`IrqChipError::PrioritiesUnusable`] if the mask doesn't open: secure software
    /// has put it where the others may not change it.
    pub(super) fn open(&self) -> Result<(), IrqChipError> {
        let running = self.running_priority();
        // Idle is 0xff, in the non-secure view of some implementations with zeros in
        // its lowest bits. What is not below the open mask is no interrupt of ours,
        // and stands in the way of none.
        if running < PMR_OPEN {
            return Err(IrqChipError::StaleRunningPriority(running));
        }
        if self.set_priority_mask(PMR_OPEN) != PMR_OPEN {
            return Err(IrqChipError::PrioritiesUnusable);
        }
        let mut registers = self.registers();
        let mut control = field!(registers, ctlr);
        control.write(ON);
        let _arrived = control.read();
        Ok(())
    }

    /// Lets nothing through any more, and has done so on return; all that was
    /// written before has arrived too, the end of the last interrupt above all.
    pub(super) fn close(&self) {
        let mut registers = self.registers();
        let mut control = field!(registers, ctlr);
        control.write(0);
        let _arrived = control.read();
        barrier::dsb(barrier::SY);
    }

    /// Returns the priority of the active interrupt.
    #[allow(clippy::cast_possible_truncation)] // The field is the low byte.
    fn running_priority(&self) -> u8 {
        let registers = self.registers();
        let running = field_shared!(registers, rpr);
        // SAFETY: reading this register changes nothing.
        unsafe { running.read_unsafe() as u8 }
    }

    /// Writes the priority mask; it has taken effect on return. Returns what it now
    /// is: all four bits that we use are implemented by every GICv2 in every view.
    #[allow(clippy::cast_possible_truncation)] // The field is the low byte.
    pub(super) fn set_priority_mask(&self, mask: u8) -> u8 {
        let mut registers = self.registers();
        let mut priority_mask = field!(registers, pmr);
        priority_mask.write(u32::from(mask));
        let now = priority_mask.read() as u8;
        barrier::dsb(barrier::SY);
        now
    }

    /// Acknowledges the most urgent interrupt that the mask lets through. Returns
    /// GICC_IAR as read, which is what [`CpuInterface::end`] wants, and the INTID in
    /// it.
    pub(super) fn acknowledge(&self) -> Option<(u32, u32)> {
        let mut registers = self.registers();
        let raw = field!(registers, iar).read();
        let intid = raw & INTID;
        if intid >= FIRST_SPECIAL {
            return None;
        }
        // Nothing of the handler is read ahead of the acknowledge. The other half is
        // the barrier of the CPU that sends an SGI.
        barrier::dmb(barrier::SY);
        Some((raw, intid))
    }

    /// Ends an interrupt: the priority has dropped for whatever this CPU asks of the
    /// GIC next.
    pub(super) fn end(&self, raw: u32) {
        let mut registers = self.registers();
        field!(registers, eoir).write(raw);
    }
}
