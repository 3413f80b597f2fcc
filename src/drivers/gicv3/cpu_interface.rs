//! The part of a GICv3 that is in the CPU: the `ICC_*` system registers.
//!
//! All functions here act on the running CPU. [`GicV3Interface`] turns the interface on
//! and off; this module adds the operations that every interrupt needs.
//!
//! # Sources
//! IHI 0069, AArch64 system register descriptions, ICC_*.

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{ID_AA64PFR0_EL1, Readable};
use arm_gic::{IntId, InterruptGroup};

use crate::arch::assembly::GicCpuInterface;
use crate::device::gic::{GicV3Interface, Icc, IccRegisters};

/// Reads a system register whose read has no side effects.
macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reading this register changes nothing, and it exists: the
        // caller has checked for the system register interface.
        unsafe {
            crate::arch::assembly::asm!(
                concat!("mrs {}, ", $register),
                out(reg) value,
                options(nomem, nostack, preserves_flags),
            );
        }
        value
    }};
}

/// Writes a system register. Not `nomem`, so that the compiler moves no memory access
/// across it on which another CPU or a handler relies.
macro_rules! write {
    ($register:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: these registers control interrupts and change no memory.
        unsafe {
            crate::arch::assembly::asm!(
                concat!("msr ", $register, ", {}"),
                in(reg) value,
                options(nostack, preserves_flags),
            );
        }
    }};
}

/// The system registers that [`GicV3Interface`] uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers;

/// The interface of the running CPU.
pub(super) const INTERFACE: GicV3Interface<Registers> = GicV3Interface::new(Registers);

impl IccRegisters for Registers {
    /// ID_AA64PFR0_EL1.GIC, bits 27:24, is 0 if there is no system register interface.
    fn exist(&self) -> bool {
        ID_AA64PFR0_EL1.get() >> 24 & 0xf != 0
    }

    #[inline]
    fn read(&self, register: Icc) -> u64 {
        match register {
            Icc::SystemRegisterEnable => read!("ICC_SRE_EL1"),
            Icc::Control => read!("ICC_CTLR_EL1"),
            Icc::BinaryPoint => read!("ICC_BPR1_EL1"),
            Icc::PriorityMask => read!("ICC_PMR_EL1"),
            Icc::RunningPriority => read!("ICC_RPR_EL1"),
            Icc::Group1 => read!("ICC_IGRPEN1_EL1"),
        }
    }

    #[inline]
    fn write(&self, register: Icc, value: u64) {
        match register {
            Icc::SystemRegisterEnable => write!("ICC_SRE_EL1", value),
            Icc::Control => write!("ICC_CTLR_EL1", value),
            Icc::BinaryPoint => write!("ICC_BPR1_EL1", value),
            Icc::PriorityMask => write!("ICC_PMR_EL1", value),
            Icc::RunningPriority => panic!("BUG: ICC_RPR_EL1 is read only"),
            Icc::Group1 => write!("ICC_IGRPEN1_EL1", value),
        }
    }

    #[inline]
    fn synchronize(&self) {
        barrier::isb(barrier::SY);
    }

    #[inline]
    fn tell_others(&self) {
        barrier::dsb(barrier::SY);
    }
}

/// Acknowledges the most urgent interrupt that the mask lets through, and returns its
/// INTID; `None` if there is no interrupt of ours.
pub(super) fn acknowledge() -> Option<IntId> {
    let intid = GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1)
        // 1020 to 1023 stand for no interrupt of ours, and must not be ended.
        .filter(|intid| !(1020..1024).contains(&intid.raw_value()))?;
    // Puts the handler's accesses behind the acknowledge (IHI 0069, ICC_IAR1_EL1:
    // only a DSB orders the state change). Without an acknowledge there is nothing to
    // order.
    barrier::dsb(barrier::SY);
    Some(intid)
}

/// Ends the interrupt with this INTID; the priority has dropped on return.
///
/// It doesn't use `arm-gic`, which builds the register's value field by field: that took
/// a tenth of the time of a short interrupt.
pub(super) fn end(intid: u32) {
    write!("ICC_EOIR1_EL1", u64::from(intid));
    barrier::isb(barrier::SY);
}

/// Writes each of `registers` to ICC_SGI1R_EL1. A CPU that takes one of the interrupts
/// sees all stores before this call. The interrupts have been sent on return.
pub(super) fn send_sgi(registers: impl Iterator<Item = u64>) {
    barrier::dsb(barrier::ISHST);
    for register in registers {
        write!("ICC_SGI1R_EL1", register);
    }
    barrier::isb(barrier::SY);
}
