//! The part of a GICv2's distributor that each CPU has to itself: SGIs and PPIs,
//! and the number of its CPU interface.
//!
//! The registers are *banked*: at the same address each CPU finds its own, and no
//! CPU finds another one's.
//!
//! # SGIs that can't be turned off
//! Whether GICD_ICENABLER0 turns SGIs off is the implementation's choice, and a
//! GIC-400's are always on. A priority does the same everywhere: one that not even
//! the open mask lets through. So an SGI that is off is off twice.
//!
//! # Pending SGIs
//! An SGI is pending once for each CPU that has sent it, and comes once for each.
//! GICD_ICPENDR0 doesn't touch them; they are taken back by GICD_CPENDSGIRn, which
//! have a bit for each SGI and sender.
//!
//! # Sources
//! IHI 0048, Distributor register descriptions: GICD_ISENABLERn, GICD_ICPENDRn,
//! GICD_ICACTIVERn, GICD_IPRIORITYRn (the non-secure view of group 0 reads as 0),
//! GICD_ITARGETSR0 to 7, GICD_CPENDSGIRn.

use arm_gic::UniqueMmioPointer;
use safe_mmio::{field, field_shared};

use super::distributor::{
    Distributor, Registers, read_targets, read_word, set_trigger, write_word,
};
use crate::config::PMR_OPEN;
use crate::drivers::gic::{ALL_SGIS, PRIORITY_WORDS, WAKE_AND_PANIC, priority_of};
use crate::platform::{SGI_COUNT, Trigger};

/// The priority of an SGI that is off: a mask lets through what is *lower*.
const PRIORITY_OFF: u8 = PMR_OPEN;

/// Priority registers that hold the SGIs.
const SGI_PRIORITY_WORDS: usize = SGI_COUNT / 4;

/// The bank of the CPU that this runs on. Made by that CPU with IRQs masked, and
/// used before they are open again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bank<'a>(&'a Distributor);

impl Distributor {
    /// The bank of the CPU that this runs on.
    ///
    /// # Context
    /// IRQs masked, as long as it is used.
    pub(super) const fn bank(&self) -> Bank<'_> {
        Bank(self)
    }
}

impl Bank<'_> {
    fn registers(&self) -> UniqueMmioPointer<'_, Registers> {
        self.0.registers()
    }

    /// This CPU's bit in a target list, or `None` if the GIC has no interface for
    /// it. The only interface of a GIC is the first, and GICD_ITARGETSR0 reads as 0
    /// there.
    pub(super) fn interface(&self) -> Option<u8> {
        if self.0.interfaces() == 1 {
            return Some(1);
        }
        let [own, ..] = read_targets(self.registers(), 0).to_le_bytes();
        own.is_power_of_two().then_some(own)
    }

    /// Puts all private interrupts into a known state, whatever the last user of
    /// this CPU left behind: our group, our priorities, neither pending nor active,
    /// and all off but wake and panic. Returns whether those two are ours at all,
    /// and not kept for secure software.
    pub(super) fn reset(&self) -> bool {
        let mut registers = self.registers();
        write_word!(registers, icenabler, 0, u32::MAX);
        write_word!(registers, igroupr, 0, 0);
        self.set_sgi_priorities(WAKE_AND_PANIC);
        for word in SGI_PRIORITY_WORDS..PRIORITY_WORDS {
            let bytes = core::array::from_fn(|byte| priority_of(word * 4 + byte));
            write_word!(registers, ipriorityr, word, u32::from_le_bytes(bytes));
        }
        self.clear_pending();
        write_word!(registers, icactiver, 0, u32::MAX);
        write_word!(registers, isenabler, 0, WAKE_AND_PANIC);
        self.owns_wake_and_panic()
    }

    /// Whether the bits of wake and panic can be seen. Those of an interrupt that is
    /// secure, in group 0 of a GIC with Security Extensions, read as 0 to the others.
    fn owns_wake_and_panic(&self) -> bool {
        let registers = self.registers();
        let enabled = read_word!(registers, isenabler, 0);
        let [wake, panic, ..] = read_word!(registers, ipriorityr, 0).to_le_bytes();
        const { assert!(WAKE_AND_PANIC == 0b11, "they are SGIs 0 and 1") };
        enabled & WAKE_AND_PANIC == WAKE_AND_PANIC && wake != 0 && panic != 0
    }

    /// Turns the SGIs of `on` on, at their priorities, and the others off.
    pub(super) fn set_sgis(&self, on: u32) {
        self.set_sgi_priorities(on);
        let mut registers = self.registers();
        write_word!(registers, icenabler, 0, ALL_SGIS & !on);
        write_word!(registers, isenabler, 0, ALL_SGIS & on);
    }

    fn set_sgi_priorities(&self, on: u32) {
        let mut registers = self.registers();
        for word in 0..SGI_PRIORITY_WORDS {
            let bytes = core::array::from_fn(|byte| {
                let number = word * 4 + byte;
                match on & 1 << number {
                    0 => PRIORITY_OFF,
                    _ => priority_of(number),
                }
            });
            write_word!(registers, ipriorityr, word, u32::from_le_bytes(bytes));
        }
    }

    /// Turns all private interrupts off but wake and panic.
    pub(super) fn quieten(&self) {
        self.set_sgis(WAKE_AND_PANIC);
        self.disable_ppis(!ALL_SGIS);
    }

    /// Turns PPI `ppi` on, its line as `trigger` says.
    pub(super) fn enable_ppi(&self, ppi: u32, trigger: Trigger) {
        let mut registers = self.registers();
        // The trigger may only change while it is off.
        self.disable_ppis(1 << ppi);
        set_trigger(registers.reborrow(), ppi as usize, trigger);
        write_word!(registers, isenabler, 0, 1 << ppi);
    }

    /// Turns the PPIs of `bits` off. There is no telling when a CPU interface that
    /// was about to signal one has heard of it, so one may still come; reading back
    /// keeps that as short as the bus is.
    pub(super) fn disable_ppis(&self, bits: u32) {
        let mut registers = self.registers();
        write_word!(registers, icenabler, 0, bits);
        let _arrived = read_word!(registers, icenabler, 0);
    }

    /// Which SGIs and PPIs are pending.
    pub(super) fn pending(&self) -> u32 {
        let registers = self.registers();
        read_word!(registers, ispendr, 0)
    }

    /// Takes back all pending SGIs, from whichever CPU, and PPIs.
    pub(super) fn clear_pending(&self) {
        let mut registers = self.registers();
        write_word!(registers, icpendr, 0, u32::MAX);
        for mut four_sgis in field!(registers, cpendsgir).split() {
            four_sgis.write(u32::MAX);
        }
    }
}
