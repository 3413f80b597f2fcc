//! The part of a GICv3 that is in the CPU: the `ICC_*` system registers.
//!
//! Everything here speaks of the CPU that runs it. What `arm-gic` has is used
//! from there; the registers that it keeps to itself, whose fields it doesn't have,
//! or that every interrupt needs are read and written here.
//!
//! # Sources
//! IHI 0069, AArch64 system register descriptions, ICC_*.

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{ID_AA64PFR0_EL1, Readable};
use arm_gic::gicv3::GicCpuInterface;
use arm_gic::{IntId, InterruptGroup};

use crate::config::PMR_OPEN;
use crate::platform::IrqChipError;

/// What ICC_RPR_EL1 says when no interrupt is active.
const IDLE_PRIORITY: u8 = 0xff;

/// Reads a system register without side effects.
macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reading this register changes nothing, and it exists: the
        // caller has checked for the system register interface.
        unsafe {
            core::arch::asm!(
                concat!("mrs {}, ", $register),
                out(reg) value,
                options(nomem, nostack, preserves_flags),
            );
        }
        value
    }};
}

/// Writes a system register. Not `nomem`: the compiler must not move what other
/// CPUs or handlers are to see across it.
macro_rules! write {
    ($register:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: these registers steer interrupts and touch no memory that
        // the compiler knows of.
        unsafe {
            core::arch::asm!(
                concat!("msr ", $register, ", {}"),
                in(reg) value,
                options(nostack, preserves_flags),
            );
        }
    }};
}

/// Makes the system registers usable and puts them into a known state, with no
/// interrupt let through yet.
///
/// # Errors
/// [`IrqChipError::NoSystemRegisters`] if the CPU has none, or a higher
/// exception level keeps them off.
pub(super) fn init() -> Result<(), IrqChipError> {
    // ID_AA64PFR0_EL1.GIC, bits 27:24: 0 is "no system register interface".
    if ID_AA64PFR0_EL1.get() >> 24 & 0xf == 0 {
        return Err(IrqChipError::NoSystemRegisters);
    }
    GicCpuInterface::enable_system_register_el1();
    barrier::isb(barrier::SY);
    if read!("ICC_SRE_EL1") & 1 == 0 {
        return Err(IrqChipError::NoSystemRegisters);
    }
    GicCpuInterface::enable_group1(false);
    // EOImode 0: the write to EOIR drops the priority and deactivates. PMHE 0
    // and CBPR 0 where they are ours to write.
    write!("ICC_CTLR_EL1", 0);
    // The smallest binary point that is implemented: each priority a level of
    // its own.
    write!("ICC_BPR1_EL1", 0);
    barrier::isb(barrier::SY);
    Ok(())
}

/// Lets interrupts through, the priority mask open.
///
/// # Errors
/// [`IrqChipError::StaleRunningPriority`] if an interrupt of another
/// incarnation is still active; nothing of its priority or below would come.
pub(super) fn open() -> Result<(), IrqChipError> {
    match running_priority() {
        IDLE_PRIORITY => {}
        stale => return Err(IrqChipError::StaleRunningPriority(stale)),
    }
    set_priority_mask(PMR_OPEN);
    GicCpuInterface::enable_group1(true);
    barrier::isb(barrier::SY);
    Ok(())
}

/// Lets nothing through any more.
pub(super) fn close() {
    GicCpuInterface::enable_group1(false);
    barrier::isb(barrier::SY);
}

/// The priority of the active interrupt. The bits above are of NMIs.
#[allow(clippy::cast_possible_truncation)] // The field is the low byte.
fn running_priority() -> u8 {
    read!("ICC_RPR_EL1") as u8
}

/// Writes the priority mask; it has taken effect on return.
///
/// The CPU sees its own write at once. The DSB is for a GIC that was set up by
/// firmware to use the mask as a hint (ICC_CTLR_EL1.PMHE, read-only then): it
/// has to learn of the new mask before we wait for what it lets through.
pub(super) fn set_priority_mask(mask: u8) {
    GicCpuInterface::set_priority_mask(mask);
    barrier::dsb(barrier::SY);
    barrier::isb(barrier::SY);
}

/// Acknowledges the most urgent interrupt that the mask lets through.
pub(super) fn acknowledge() -> Option<IntId> {
    let intid = GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1)
        // 1020 to 1023 stand for no interrupt of ours; they are not ended.
        .filter(|intid| !(1020..1024).contains(&intid.raw_value()))?;
    // The handler's accesses come after the acknowledge (IHI 0069, ICC_IAR1_EL1:
    // the state change is only ordered by a DSB).
    barrier::dsb(barrier::SY);
    Some(intid)
}

/// Ends the interrupt with this INTID; the priority has dropped on return.
///
/// Written by hand: by way of `arm-gic`, which makes the register's value field by
/// field, it was a tenth of all that a short interrupt takes.
pub(super) fn end(intid: u32) {
    write!("ICC_EOIR1_EL1", u64::from(intid));
    barrier::isb(barrier::SY);
}

/// Writes each of `registers`, values of ICC_SGI1R_EL1. Stores before it are
/// visible to whoever takes the interrupt; the interrupts are on their way on
/// return.
pub(super) fn send_sgi(registers: impl Iterator<Item = u64>) {
    barrier::dsb(barrier::ISHST);
    for register in registers {
        write!("ICC_SGI1R_EL1", register);
    }
    barrier::isb(barrier::SY);
}
