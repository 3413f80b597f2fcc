//! A CPU's interface of a GICv3: the `ICC_*` system registers that are set up once, and
//! the priority mask.
//!
//! # Barriers
//! Later instructions and later accesses to system registers see a write to a system
//! register after a context synchronization event (Arm ARM, "Synchronization
//! requirements for AArch64 System registers"). So an ISB follows each group of writes
//! here. One follows the write of ICC_SRE_EL1 at once, because until that has taken
//! effect every other `ICC_*` register is UNDEFINED (IHI 0069, ICC_SRE_EL1). The mask is
//! the exception: "writes to this register are self-synchronising", so that "no
//! interrupts below the written PMR value will be taken" after it (IHI 0069,
//! ICC_PMR_EL1).

use crate::config::PMR_OPEN;
use crate::platform::IrqChipError;

/// The value of ICC_RPR_EL1 while no interrupt is active.
const IDLE_PRIORITY: u8 = 0xff;

/// ICC_SRE_EL1.SRE.
const SRE: u64 = 1 << 0;

/// ICC_IGRPEN1_EL1.Enable.
const ENABLE: u64 = 1 << 0;

/// A register of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icc {
    /// ICC_SRE_EL1: whether the other `ICC_*` registers can be accessed.
    SystemRegisterEnable,
    /// ICC_CTLR_EL1.
    Control,
    /// ICC_BPR1_EL1: which bits of a priority preempt.
    BinaryPoint,
    /// ICC_PMR_EL1.
    PriorityMask,
    /// ICC_RPR_EL1, read only: the priority of the active interrupt.
    RunningPriority,
    /// ICC_IGRPEN1_EL1: whether interrupts come at all.
    Group1,
}

/// The registers of the interface of the CPU that this runs on.
///
/// # Context
/// IRQs masked.
pub trait IccRegisters {
    /// Returns whether the CPU has such registers (ID_AA64PFR0_EL1.GIC).
    fn exist(&self) -> bool;

    /// Reads `register`.
    fn read(&self, register: Icc) -> u64;

    /// Writes `register`. It has taken effect after [`IccRegisters::synchronize`].
    fn write(&self, register: Icc, value: u64);

    /// Makes a context synchronization event: `ISB`.
    fn synchronize(&self);

    /// Waits until the GIC's other parts have seen what was written: `DSB`.
    fn tell_others(&self);
}

/// The interface of the CPU that this runs on.
#[derive(Clone, Copy, Debug)]
pub struct GicV3Interface<R>(R);

impl<R: IccRegisters> GicV3Interface<R> {
    /// Returns the interface whose registers are `registers`.
    pub const fn new(registers: R) -> Self {
        GicV3Interface(registers)
    }

    /// Turns the interface on, from whatever state, with the priority mask open. Calls
    /// `others_fn` before an interrupt can come, to set up the CPU's other parts of the
    /// GIC.
    ///
    /// # Errors
    /// - [`IrqChipError::NoSystemRegisters`] if the CPU has no such registers, or a higher
    ///   exception level keeps them off.
    /// - The error of `others_fn`. No interrupt comes then.
    /// - [`IrqChipError::StaleRunningPriority`] if an interrupt from before the CPU was
    ///   last turned off is still active, which would hold back all interrupts of its
    ///   priority or below. No interrupt comes then.
    pub fn bring_up(
        &self,
        others_fn: impl FnOnce() -> Result<(), IrqChipError>,
    ) -> Result<(), IrqChipError> {
        self.init()?;
        others_fn()?;
        self.open()
    }

    /// Makes the system registers usable and puts them into a known state, with no
    /// interrupt let through yet.
    fn init(&self) -> Result<(), IrqChipError> {
        if !self.0.exist() {
            return Err(IrqChipError::NoSystemRegisters);
        }
        let others = self.0.read(Icc::SystemRegisterEnable);
        self.0.write(Icc::SystemRegisterEnable, others | SRE);
        self.0.synchronize();
        if self.0.read(Icc::SystemRegisterEnable) & SRE == 0 {
            return Err(IrqChipError::NoSystemRegisters);
        }
        self.0.write(Icc::Group1, 0);
        // EOImode 0: the write to EOIR drops the priority and deactivates. PMHE and
        // CBPR are 0 too, where we may write them.
        self.0.write(Icc::Control, 0);
        // 0 selects the smallest binary point that is implemented, so that each priority
        // is a level of its own.
        self.0.write(Icc::BinaryPoint, 0);
        self.0.synchronize();
        Ok(())
    }

    /// Lets interrupts through, the priority mask open.
    fn open(&self) -> Result<(), IrqChipError> {
        // The upper bits are for NMIs.
        let [running, ..] = self.0.read(Icc::RunningPriority).to_le_bytes();
        if running != IDLE_PRIORITY {
            return Err(IrqChipError::StaleRunningPriority(running));
        }
        self.set_priority_mask(PMR_OPEN);
        self.0.write(Icc::Group1, ENABLE);
        self.0.synchronize();
        Ok(())
    }

    /// Lets no interrupt through any more.
    ///
    /// # Context
    /// After [`GicV3Interface::bring_up`] has succeeded on this CPU.
    pub fn close(&self) {
        self.0.write(Icc::Group1, 0);
        self.0.synchronize();
    }

    /// Returns whether this CPU can write its priority mask and send SGIs, for which it
    /// needs the system registers.
    ///
    /// `was_up` is whether [`GicV3Interface::bring_up`] has ever succeeded on this CPU.
    /// Until then no register is touched: a higher exception level may trap even
    /// ICC_SRE_EL1 (IHI 0069, ICC_SRE_EL2.Enable and ICC_SRE_EL3.Enable). Afterwards that
    /// register says whether the CPU has been reset since.
    ///
    /// # Context
    /// Any, including the report of a fault.
    pub fn is_usable(&self, was_up: bool) -> bool {
        was_up && self.0.read(Icc::SystemRegisterEnable) & SRE != 0
    }

    /// Writes the priority mask; it has taken effect on return.
    ///
    /// The CPU sees its own write at once. The DSB is for a GIC that firmware has set up to
    /// use the mask as a hint (ICC_CTLR_EL1.PMHE, read-only then): such a GIC has to see
    /// the new mask before we wait for an interrupt that the mask lets through.
    ///
    /// # Context
    /// As [`GicV3Interface::close`].
    #[inline]
    pub fn set_priority_mask(&self, mask: u8) {
        self.0.write(Icc::PriorityMask, mask.into());
        self.0.tell_others();
        self.0.synchronize();
    }
}
