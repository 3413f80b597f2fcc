//! A CPU's interface of a GICv3: the `ICC_*` system registers that are set up once, and
//! the priority mask.
//!
//! # What has to wait for what
//! A write to a system register is seen by what comes later, and by other accesses
//! to such registers, after a context synchronization event (Arm ARM, "Synchronization
//! requirements for AArch64 System registers"). So an ISB stands behind each group
//! of writes here, and behind ICC_SRE_EL1 at once: until that has taken effect every
//! other `ICC_*` register is UNDEFINED (IHI 0069, ICC_SRE_EL1). The mask is the
//! exception: "writes to this register are self-synchronising", so that "no interrupts
//! below the written PMR value will be taken" after it (IHI 0069, ICC_PMR_EL1).

use crate::config::PMR_OPEN;
use crate::platform::IrqChipError;

/// What ICC_RPR_EL1 says when no interrupt is active.
const IDLE_PRIORITY: u8 = 0xff;

/// ICC_SRE_EL1.SRE.
const SRE: u64 = 1 << 0;

/// ICC_IGRPEN1_EL1.Enable.
const ENABLE: u64 = 1 << 0;

/// A register of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icc {
    /// ICC_SRE_EL1: whether there are the others.
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

    /// A context synchronization event: `ISB`.
    fn synchronize(&self);

    /// Has the GIC's other parts hear of what was written, before it returns: `DSB`.
    fn tell_others(&self);
}

/// The interface of the CPU that this runs on.
#[derive(Clone, Copy, Debug)]
pub struct GicV3Interface<R>(R);

impl<R: IccRegisters> GicV3Interface<R> {
    /// Returns the interface that `registers` steer.
    pub const fn new(registers: R) -> Self {
        GicV3Interface(registers)
    }

    /// Turns the interface on, from whatever state, with the priority mask open. Calls
    /// `others_fn` on the way, before an interrupt can come, to set up what the CPU has
    /// beside its interface.
    ///
    /// # Errors
    /// [`IrqChipError::NoSystemRegisters`] if the CPU has none, or a higher exception
    /// level keeps them off: none is touched then. What `others_fn` returns, or
    /// [`IrqChipError::StaleRunningPriority`] if an interrupt of another incarnation
    /// is still active, so that nothing of its priority or below would come: no
    /// interrupt comes then.
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
        // EOImode 0: the write to EOIR drops the priority and deactivates. PMHE 0
        // and CBPR 0 where they are ours to write.
        self.0.write(Icc::Control, 0);
        // The smallest binary point that is implemented: each priority a level of
        // its own.
        self.0.write(Icc::BinaryPoint, 0);
        self.0.synchronize();
        Ok(())
    }

    /// Lets interrupts through, the priority mask open.
    fn open(&self) -> Result<(), IrqChipError> {
        // The bits above are of NMIs.
        let [running, ..] = self.0.read(Icc::RunningPriority).to_le_bytes();
        if running != IDLE_PRIORITY {
            return Err(IrqChipError::StaleRunningPriority(running));
        }
        self.set_priority_mask(PMR_OPEN);
        self.0.write(Icc::Group1, ENABLE);
        self.0.synchronize();
        Ok(())
    }

    /// Lets nothing through any more.
    ///
    /// # Context
    /// After [`GicV3Interface::bring_up`] has succeeded on this CPU.
    pub fn close(&self) {
        self.0.write(Icc::Group1, 0);
        self.0.synchronize();
    }

    /// Returns whether this CPU can write its mask and send SGIs, which takes system
    /// registers.
    ///
    /// `was_up` is whether [`GicV3Interface::bring_up`] has ever succeeded on this CPU.
    /// Until then no register is touched: a higher exception level may trap even
    /// ICC_SRE_EL1 (IHI 0069, ICC_SRE_EL2.Enable and ICC_SRE_EL3.Enable). Afterwards that
    /// register says whether the CPU has been reset since.
    ///
    /// # Context
    /// Any, also in the report of a fault.
    pub fn is_usable(&self, was_up: bool) -> bool {
        was_up && self.0.read(Icc::SystemRegisterEnable) & SRE != 0
    }

    /// Writes the priority mask; it has taken effect on return.
    ///
    /// The CPU sees its own write at once. The DSB is for a GIC that was set up by
    /// firmware to use the mask as a hint (ICC_CTLR_EL1.PMHE, read-only then): it
    /// has to learn of the new mask before we wait for what it lets through.
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
