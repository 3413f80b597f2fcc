//! The part of a GICv2's distributor that each CPU has to itself: SGIs and PPIs,
//! and the number of its CPU interface.
//!
//! The registers are *banked*: at the same address each CPU accesses its own, and no
//! CPU can access those of another.
//!
//! # SGIs that can't be turned off
//! An implementation may choose whether GICD_ICENABLER0 turns SGIs off; those of a
//! GIC-400 are always on. A priority that not even the open mask lets through has the
//! same effect on every GIC. So turning one of our SGIs off means both: its bit in
//! GICD_ICENABLER0, and that priority.
//!
//! # Pending SGIs
//! An SGI is pending once for each CPU that has sent it, and comes once for each.
//! GICD_ICPENDR0 doesn't affect SGIs. GICD_CPENDSGIRn clear them, with a bit for each
//! SGI and sender.
//!
//! Xen answers a write to either with an abort, and reads both as zero. So a register
//! that reads as zero isn't written. On Xen a pending SGI therefore comes in spite of
//! the clearing, and each handler tolerates an SGI that no CPU has sent.
//!
//! # Sources
//! IHI 0048, Distributor register descriptions: GICD_IGROUPRn, GICD_ISENABLERn,
//! GICD_ICPENDRn, GICD_ICACTIVERn, GICD_IPRIORITYRn (the non-secure view of group 0
//! reads as 0), GICD_ITARGETSR0 to 7, GICD_CPENDSGIRn.

use super::{
    CPENDSGIR, ICACTIVER, ICENABLER, ICPENDR, IGROUPR, IPRIORITYR, ISENABLER, ITARGETSR,
    OUR_PRIORITY_WORDS, OUR_SGIS, PPI_PRIORITY_WORDS, PPIS, PrivateRegisters, SECURE_SGIS,
    WAKE_AND_PANIC, priority_of, set_ordinary_priority, set_trigger, write_our_bits,
    write_priorities,
};
use crate::config::PMR_OPEN;
use crate::platform::Trigger;

/// The priority of an SGI that is off. A mask lets through priorities *below* it.
const PRIORITY_OFF: u8 = PMR_OPEN;

/// Indices of the words of GICD_CPENDSGIRn that hold our SGIs.
const OUR_PENDING_WORDS: core::ops::Range<usize> = 0..2;

/// The SGIs and PPIs of the running CPU.
///
/// # Context
/// IRQs masked, for as long as the value exists.
#[derive(Clone, Copy, Debug)]
pub struct GicV2Bank<R>(R);

impl<R: PrivateRegisters> GicV2Bank<R> {
    /// Returns the SGIs and PPIs whose registers are `registers`.
    pub const fn new(registers: R) -> Self {
        GicV2Bank(registers)
    }

    /// Returns this CPU's bit in a target list, or `None` if the GIC has no interface
    /// for this CPU. `interfaces` is the number of the GIC's CPU interfaces. If it is 1,
    /// GICD_ITARGETSR0 reads as 0, and this CPU has the first interface.
    pub fn interface(&self, interfaces: usize) -> Option<u8> {
        if interfaces == 1 {
            return Some(1);
        }
        let [own, ..] = self.0.read(ITARGETSR).to_le_bytes();
        own.is_power_of_two().then_some(own)
    }

    /// Puts our SGIs and all PPIs into a known state, whatever this CPU did before: our
    /// group, our priorities, neither pending nor active, and all off but wake and panic.
    /// Returns whether we may use those two, that is, secure software hasn't reserved
    /// them.
    ///
    /// All writes have arrived on return, because the caller then tells another CPU, which
    /// may send the wake SGI.
    pub fn reset(&self) -> bool {
        self.0.write(ICENABLER, OUR_SGIS | PPIS);
        write_our_bits(&self.0, IGROUPR, 0);
        self.set_sgi_priorities(WAKE_AND_PANIC);
        write_priorities(&self.0, PPI_PRIORITY_WORDS, priority_of);
        self.clear_pending();
        self.0.write(ICACTIVER, OUR_SGIS | PPIS);
        self.0.write(ISENABLER, WAKE_AND_PANIC);
        self.0.settle();
        self.owns_wake_and_panic()
    }

    /// Returns whether wake and panic read as on and with a priority. The bits of a secure
    /// interrupt, one in group 0 of a GIC with Security Extensions, read as 0 to
    /// non-secure software.
    fn owns_wake_and_panic(&self) -> bool {
        let enabled = self.0.read(ISENABLER);
        let [wake, panic, ..] = self.0.read(IPRIORITYR).to_le_bytes();
        const { assert!(WAKE_AND_PANIC == 0b11, "they are SGIs 0 and 1") };
        enabled & WAKE_AND_PANIC == WAKE_AND_PANIC && wake != 0 && panic != 0
    }

    /// Turns those of our SGIs whose bits are in `on` on, at their priorities, and the
    /// other ones off.
    pub fn set_sgis(&self, on: u32) {
        self.set_sgi_priorities(on);
        self.0.write(ICENABLER, OUR_SGIS & !on);
        self.0.write(ISENABLER, OUR_SGIS & on);
        self.0.settle();
    }

    /// Gives those of our SGIs whose bits are in `on` their priorities, and the other ones
    /// [`PRIORITY_OFF`].
    fn set_sgi_priorities(&self, on: u32) {
        write_priorities(&self.0, OUR_PRIORITY_WORDS, |number| {
            match on & 1 << number {
                0 => PRIORITY_OFF,
                _ => priority_of(number),
            }
        });
    }

    /// Turns all of our SGIs but wake and panic off, and all PPIs.
    pub fn quieten(&self) {
        self.set_sgis(WAKE_AND_PANIC);
        self.disable_ppis(PPIS);
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

    /// Turns the PPIs of `bits` off. A CPU interface that was about to signal one of them
    /// may still do so: a GICv2 doesn't tell when the interface has seen the change. The
    /// read back makes sure that the write has at least arrived.
    pub fn disable_ppis(&self, bits: u32) {
        self.0.write(ICENABLER, bits & PPIS);
        self.0.settle();
    }

    /// Clears all pending SGIs of ours, whichever CPU has sent them, and all pending PPIs.
    pub fn clear_pending(&self) {
        let pending = self.0.read(ICPENDR) & !SECURE_SGIS;
        if pending != 0 {
            self.0.write(ICPENDR, pending);
        }
        for word in OUR_PENDING_WORDS {
            let offset = CPENDSGIR + word * 4;
            let pending = self.0.read(offset);
            if pending != 0 {
                self.0.write(offset, pending);
            }
        }
        self.0.settle();
    }
}
