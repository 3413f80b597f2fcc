//! The part of a GICv3's redistributor that each CPU has to itself: SGIs and PPIs, in the
//! second frame.
//!
//! # Sources
//! IHI 0069, the redistributor's SGI and PPI registers: GICR_IGROUPR0,
//! GICR_IGRPMODR0, GICR_ISENABLER0, GICR_ICENABLER0, GICR_ICPENDR0, GICR_ICACTIVER0,
//! GICR_IPRIORITYRn, and their copies for extended PPIs.

use super::{
    ICACTIVER, ICENABLER, ICPENDR, IGROUPR, IGRPMODR, ISENABLER, OUR_PRIORITY_WORDS, OUR_SGIS,
    PPI_PRIORITY_WORDS, PPIS, PrivateRegisters, SECURE_SGIS, WAKE_AND_PANIC, priority_of,
    set_ordinary_priority, set_trigger, write_our_bits, write_priorities,
};
use crate::platform::Trigger;

/// The SGIs and PPIs of one CPU.
///
/// # Context
/// That CPU, IRQs masked.
#[derive(Clone, Copy, Debug)]
pub struct GicV3Bank<R>(R);

impl<R: PrivateRegisters> GicV3Bank<R> {
    /// Returns the SGIs and PPIs whose registers are `registers`.
    pub const fn new(registers: R) -> Self {
        GicV3Bank(registers)
    }

    /// Puts our SGIs and all PPIs into a known state, whatever this CPU did before:
    /// group 1, our two priorities, neither pending nor active, and all off but wake and
    /// panic.
    ///
    /// * `extended` — the number of extended PPIs, divided by 32; the kernel uses none
    ///
    /// An SGI that was sent to the CPU while it was off is pending here, and one
    /// that was active when the CPU went down still is. Each write covers a whole word and
    /// not one interrupt, because a hypervisor traps each access, and every CPU runs this
    /// on its way up.
    ///
    /// All writes have arrived on return. The caller then tells another CPU, which may
    /// send the wake SGI; a late write to GICR_ICPENDR0 would clear that.
    pub fn reset(&self, extended: usize) {
        self.0.write(ICENABLER, OUR_SGIS | PPIS);
        for word in 1..=extended {
            self.0.write(ICENABLER + word * 4, u32::MAX);
        }
        self.0.settle();
        write_our_bits(&self.0, IGROUPR, u32::MAX);
        write_our_bits(&self.0, IGRPMODR, 0);
        write_priorities(&self.0, OUR_PRIORITY_WORDS, priority_of);
        write_priorities(&self.0, PPI_PRIORITY_WORDS, priority_of);
        self.0.write(ICPENDR, OUR_SGIS | PPIS);
        self.0.write(ICACTIVER, OUR_SGIS | PPIS);
        self.0.write(ISENABLER, WAKE_AND_PANIC);
        self.0.settle();
    }

    /// Turns our SGIs of `bits` on.
    ///
    /// It doesn't wait for the write to arrive: an SGI that comes before that stays
    /// pending and isn't lost.
    pub fn enable_sgis(&self, bits: u32) {
        self.0.write(ISENABLER, bits & OUR_SGIS);
    }

    /// Turns all of our SGIs but wake and panic off, and all PPIs; none of them comes
    /// any more once this has returned.
    pub fn quieten(&self) {
        self.0.write(ICENABLER, (OUR_SGIS | PPIS) & !WAKE_AND_PANIC);
        self.0.settle();
    }

    /// Turns PPI `ppi`, INTID 16 to 31, on, as [`Self::enable_ppi`] does, at the ordinary priority.
    pub fn enable_device_ppi(&self, ppi: u32, trigger: Trigger) {
        set_ordinary_priority(&self.0, ppi);
        self.enable_ppi(ppi, trigger);
    }

    /// Turns PPI `ppi`, INTID 16 to 31, on; its line triggers as `trigger` says. The PPI must be
    /// off, because the trigger may only change then.
    pub fn enable_ppi(&self, ppi: u32, trigger: Trigger) {
        set_trigger(&self.0, ppi, trigger);
        self.0.write(ISENABLER, 1 << ppi);
    }

    /// Turns PPI `ppi`, INTID 16 to 31, off. It may still come until [`GicV3Bank::quieten`],
    /// which a CPU that leaves does next, has returned: to wait twice would be two more
    /// accesses that a hypervisor traps.
    pub fn disable_ppi(&self, ppi: u32) {
        self.0.write(ICENABLER, 1 << ppi & !SECURE_SGIS);
    }

    /// Clears all pending SGIs of ours and all pending PPIs; done on return.
    pub fn clear_pending(&self) {
        self.0.write(ICPENDR, OUR_SGIS | PPIS);
        self.0.settle();
    }
}
