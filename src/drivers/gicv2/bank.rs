//! The registers of a GICv2's distributor that each CPU has to itself. [`GicV2Bank`] says
//! what is written to them, and when.

use aarch64_cpu::asm::barrier;
use safe_mmio::UniqueMmioPointer;
use safe_mmio::fields::ReadPureWrite;

use super::distributor::Distributor;
use crate::arch::aarch64::traps::{self, Trap};
use crate::device::gic::{GICV2_DISTRIBUTOR_SIZE, GicV2Bank, ICENABLER, PrivateRegisters};

/// The bank of the running CPU. The CPU makes it with IRQs masked, and uses it only until
/// it unmasks them.
#[derive(Clone, Copy, Debug)]
pub(super) struct BankRegisters<'a>(&'a Distributor);

impl Distributor {
    /// Returns the SGIs and PPIs of the running CPU.
    ///
    /// # Context
    /// IRQs masked, for as long as the result is used.
    pub(super) const fn bank(&self) -> GicV2Bank<BankRegisters<'_>> {
        GicV2Bank::new(BankRegisters(self))
    }
}

impl BankRegisters<'_> {
    /// Returns a pointer to the register at `offset`, for one access.
    fn register(&self, offset: usize) -> UniqueMmioPointer<'_, ReadPureWrite<u32>> {
        traps::count(Trap::Gic);
        assert!(
            offset.is_multiple_of(4) && (offset as u64) < GICV2_DISTRIBUTOR_SIZE,
            "BUG: a GICv2's distributor has no register at {offset:#x}"
        );
        // SAFETY: it is inside the registers that the caller of `Distributor::new`
        // promised to be there.
        let register = unsafe { self.0.base().byte_add(offset) };
        // SAFETY: the same promise; no two pointers reach the same register at a
        // time (bank-by-its-owner).
        unsafe { UniqueMmioPointer::new(register.cast()) }
    }
}

impl PrivateRegisters for BankRegisters<'_> {
    fn read(&self, offset: usize) -> u32 {
        self.register(offset).read()
    }

    fn write(&self, offset: usize, value: u32) {
        self.register(offset).write(value);
    }

    /// A GICv2 doesn't tell when a CPU interface has seen that an interrupt was turned off.
    /// The read returns after the writes have arrived, and the DSB waits for the read.
    fn settle(&self) {
        let _arrived = self.read(ICENABLER);
        barrier::dsb(barrier::SY);
    }
}
