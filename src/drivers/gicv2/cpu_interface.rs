//! The CPU interface of a GICv2, from which a CPU takes its interrupts.
//!
//! The registers are banked: at the same address each CPU accesses its own.
//!
//! They are memory of type Device-nGnRE. Accesses of one CPU to one device stay in
//! order, but a write may complete for the CPU before it reaches the device. So a
//! function whose write must have taken effect on return reads the register back. The end
//! of an interrupt is not read back: later accesses to the interface arrive after it.
//! Until it arrives the GIC holds back interrupts that are no more urgent, so these are
//! late but not lost.
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

/// GICC_CTLR: our group on. With the other bits 0, our interrupts come as IRQ and never
/// as FIQ, a read of GICC_IAR acknowledges only our group, the legacy bypass signals are
/// left alone, and a write to GICC_EOIR drops the priority and deactivates.
const ON: u32 = 1;

/// The INTID in GICC_IAR. The bits above hold the number of an SGI's sender.
const INTID: u32 = 0x3ff;

/// The first special INTID. From here on they stand for no interrupt of ours, and must
/// not be ended.
const FIRST_SPECIAL: u32 = 1020;

/// The CPU interface of the running CPU.
///
/// Each access makes its own pointer to the registers, with IRQs masked, and each
/// CPU's pointer reaches the registers of that CPU. So no two pointers reach the same
/// registers at a time.
#[derive(Debug)]
pub(super) struct CpuInterface {
    base: NonNull<Gicc>,
}

impl CpuInterface {
    /// Returns the CPU interface at `base`. Touches no register.
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

    /// Returns a pointer to the registers, for one access.
    fn registers(&self) -> UniqueMmioPointer<'_, Gicc> {
        // SAFETY: the caller of `new` promised a CPU interface that nothing else uses. The
        // type says why no two pointers are in use at once.
        unsafe { UniqueMmioPointer::new(self.base) }
    }

    /// Puts the interface into a known state, in which it lets no interrupt through.
    pub(super) fn init(&self) {
        self.close();
        // 0 selects the smallest binary point that is implemented, so that each priority
        // is a level of its own.
        let mut registers = self.registers();
        let mut binary_point = field!(registers, bpr);
        // SAFETY: the register takes every value, and touches no memory.
        unsafe { binary_point.write_unsafe(0) };
    }

    /// Lets interrupts through, the priority mask open.
    ///
    /// # Errors
    /// - [`IrqChipError::StaleRunningPriority`] if an interrupt from before the CPU was
    ///   last turned off is still active, which would hold back all interrupts of its
    ///   priority or below.
    /// - [`IrqChipError::PrioritiesUnusable`] if the mask doesn't open, because secure
    ///   software has set it to a value that non-secure software may not change.
    pub(super) fn open(&self) -> Result<(), IrqChipError> {
        let running = self.running_priority();
        // The idle priority is 0xff. In the non-secure view of some implementations its
        // lowest bits are 0. A priority that isn't below the open mask is not that of an
        // interrupt of ours, and holds none of ours back.
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

    /// Lets no interrupt through any more; this has taken effect on return. All earlier
    /// writes have arrived too, in particular the end of the last interrupt.
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

    /// Writes the priority mask; it has taken effect on return. Returns the mask as it
    /// reads back. Every GICv2 implements the four bits that we use, in every view.
    #[allow(clippy::cast_possible_truncation)] // The field is the low byte.
    pub(super) fn set_priority_mask(&self, mask: u8) -> u8 {
        let mut registers = self.registers();
        let mut priority_mask = field!(registers, pmr);
        priority_mask.write(u32::from(mask));
        let now = priority_mask.read() as u8;
        barrier::dsb(barrier::SY);
        now
    }

    /// Acknowledges the most urgent interrupt that the mask lets through. Returns the value
    /// of GICC_IAR, which [`CpuInterface::end`] takes, and the INTID in it; `None` if
    /// there is no interrupt of ours.
    pub(super) fn acknowledge(&self) -> Option<(u32, u32)> {
        let mut registers = self.registers();
        let raw = field!(registers, iar).read();
        let intid = raw & INTID;
        if intid >= FIRST_SPECIAL {
            return None;
        }
        // Keeps the handler's reads behind the acknowledge. It pairs with the DSB of the
        // CPU that sends an SGI (`send_sgi`).
        barrier::dmb(barrier::SY);
        Some((raw, intid))
    }

    /// Ends the interrupt for which GICC_IAR was `raw`. Later accesses of this CPU to the
    /// GIC find the priority dropped.
    pub(super) fn end(&self, raw: u32) {
        let mut registers = self.registers();
        field!(registers, eoir).write(raw);
    }
}
