//! The part of a GICv2 that all CPUs share: shared interrupts, and the register that
//! sends SGIs.
//!
//! # Invariants
//! No word of the registers belongs to two of these:
//! - **bank-by-its-owner**: only the CPU that owns a bank (the words of SGIs and PPIs)
//!   accesses it, through [`BankRegisters`](super::bank::BankRegisters), with IRQs masked.
//! - **whole-sgi-writes**: GICD_SGIR is only written, and each write is complete in itself.
//! - **spis-under-lock**: the shared words are written by [`Distributor::new`], before there
//!   is a second user, or under the lock `spis`.
//!
//! # Sources
//! IHI 0048, Distributor register descriptions: GICD_CTLR (its views), GICD_TYPER,
//! GICD_ITARGETSRn, GICD_ICFGRn, GICD_SGIR.

use core::mem::offset_of;
use core::ptr::NonNull;

use arm_gic::UniqueMmioPointer;
use arm_gic::gicv2::registers::{Gicd, GicdCtlr, Typer};
use safe_mmio::{field, field_shared};
use spin::mutex::SpinMutex;

use super::{GicInitError, MAX_INTERFACES, device_pointer};
use crate::config::PRIORITY_NORMAL;
use crate::device::gic::with_trigger;
use crate::drivers::gic::YieldRelax;
use crate::platform::{OUR_SGI_COUNT, Trigger};

/// The bit of our group in GICD_CTLR. `arm-gic` names it after the view of a GIC
/// without Security Extensions; in the non-secure view it turns group 1 on.
const OUR_GROUP: GicdCtlr = GicdCtlr::EnableGrp0;

/// INTID of the first shared interrupt.
const FIRST_SPI: usize = 32;

/// The INTID behind that of the last shared interrupt.
const END_OF_SPIS: usize = 1020;

/// A priority word: the priority of four SPIs.
const PRIORITIES: u32 = u32::from_le_bytes([PRIORITY_NORMAL; 4]);

const _: () = assert!(offset_of!(Gicd, sgir) == 0xf00);

/// Writes one word of a bank of registers.
macro_rules! write_word {
    ($registers:expr, $bank:ident, $word:expr, $value:expr) => {
        field!($registers, $bank)
            .get($word)
            .expect("BUG: there are registers for INTIDs up to 1023")
            .write($value)
    };
}

/// Reads one word of a bank of registers.
macro_rules! read_word {
    ($registers:expr, $bank:ident, $word:expr) => {
        field_shared!($registers, $bank)
            .get($word)
            .expect("BUG: there are registers for INTIDs up to 1023")
            .read()
    };
}

/// The distributor, set up.
///
/// Each access makes its own pointer, on any CPU at any time. The invariants of this module
/// keep two pointers from disturbing each other.
#[derive(Debug)]
pub(super) struct Distributor {
    base: NonNull<Gicd>,
    /// Guards the registers of shared interrupts.
    spis: SpinMutex<(), YieldRelax>,
    /// The number of CPU interfaces, 1 to [`MAX_INTERFACES`].
    interfaces: usize,
    /// How many SPIs there are.
    spi_count: usize,
}

impl Distributor {
    /// Sets the distributor at `base` up and returns it. Every shared interrupt is off, in
    /// our group, of our ordinary priority, routed to no CPU, neither pending nor active.
    ///
    /// # Errors
    /// [`GicInitError`] if no distributor can be at `base`, or it can't be turned on.
    ///
    /// # Safety
    /// `base` must be a GICv2's distributor, mapped as device memory for ever and
    /// used by nothing else.
    pub(super) unsafe fn new(base: u64) -> Result<Distributor, GicInitError> {
        let base = device_pointer::<Gicd>(base)?;
        let mut distributor = Distributor {
            base,
            spis: SpinMutex::new(()),
            interfaces: 1,
            spi_count: 0,
        };
        let mut registers = distributor.registers();
        field!(registers, ctlr).write(GicdCtlr::empty());
        let typer = field_shared!(registers, typer).read();
        reset_spis(registers.reborrow(), typer);
        let mut control = field!(registers, ctlr);
        control.write(OUR_GROUP);
        if !control.read().contains(OUR_GROUP) {
            return Err(GicInitError::StaysOff);
        }
        distributor.spi_count = end_of_spis(typer).saturating_sub(FIRST_SPI);
        distributor.interfaces = (typer.cpu_count() as usize).min(MAX_INTERFACES);
        Ok(distributor)
    }

    /// Returns the address of the registers.
    pub(super) const fn base(&self) -> NonNull<Gicd> {
        self.base
    }

    /// Returns a pointer to the registers, for one access.
    fn registers(&self) -> UniqueMmioPointer<'_, Gicd> {
        // SAFETY: the caller of `new` promised a distributor that nothing else uses. Two such
        // pointers access different words at a time (bank-by-its-owner, spis-under-lock), or
        // GICD_SGIR, whose writes are complete in themselves (whole-sgi-writes).
        unsafe { UniqueMmioPointer::new(self.base) }
    }

    /// Returns how many CPU interfaces the GIC has.
    pub(super) const fn interfaces(&self) -> usize {
        self.interfaces
    }

    /// Sends SGI `number` to the CPU interfaces of `targets`, in one write.
    ///
    /// TargetListFilter, bits 25:24, is 0: the SGI goes to the interfaces in the list.
    /// NSATT, bit 15, is 0. The non-secure view ignores that bit; in the secure view it
    /// says that the SGI is in group 0, which is ours.
    ///
    /// # Context
    /// Any CPU; takes no lock. The caller has made visible in memory what the receivers
    /// are to find there.
    ///
    /// # Panics
    /// If `number` is not that of one of our SGIs, 0 to 7.
    pub(super) fn send_sgi(&self, number: u8, targets: u8) {
        assert!(
            usize::from(number) < OUR_SGI_COUNT,
            "BUG: SGIs 8 to 15 are secure software's"
        );
        let value = u32::from(targets) << 16 | u32::from(number);
        let mut registers = self.registers();
        field!(registers, sgir).write(value);
    }

    /// Returns how many SPIs there are.
    pub(super) const fn spis(&self) -> usize {
        self.spi_count
    }

    /// Has the line of SPI `intid`, which is off, trigger as `trigger` says and go to the CPU
    /// interface whose bit is `target`. Takes a lock.
    ///
    /// # Panics
    /// If `intid` is not that of an SPI.
    pub(super) fn set_up(&self, intid: u32, trigger: Trigger, target: u8) {
        let spi = spi_index(intid);
        let _held = self.spis.lock();
        let mut registers = self.registers();
        set_trigger(registers.reborrow(), spi, trigger);
        set_target(registers.reborrow(), spi, target);
    }

    /// Turns SPI `intid` off. Takes a lock.
    ///
    /// An interrupt that is pending stays so. The interface that it went to may have been about
    /// to signal it; an acknowledge there finds it once more, or finds nothing. The read back
    /// makes sure that the write has at least arrived.
    ///
    /// # Panics
    /// If `intid` is not that of an SPI.
    pub(super) fn mask(&self, intid: u32) {
        let spi = spi_index(intid);
        let _held = self.spis.lock();
        let mut registers = self.registers();
        write_word!(registers, icenabler, spi / 32, 1 << (spi % 32));
        let _arrived = read_word!(registers, isenabler, spi / 32);
    }

    /// Turns SPI `intid` on. Takes a lock.
    ///
    /// # Panics
    /// If `intid` is not that of an SPI.
    pub(super) fn unmask(&self, intid: u32) {
        let spi = spi_index(intid);
        let _held = self.spis.lock();
        let mut registers = self.registers();
        write_word!(registers, isenabler, spi / 32, 1 << (spi % 32));
    }

    /// Routes SPI `intid`, which is on or off, to the CPU interface whose bit is `target`. Takes
    /// a lock.
    ///
    /// An interrupt that is pending stays so while it is off. The interface that it went to
    /// may have been about to signal it; an acknowledge there finds nothing then. An interrupt
    /// that is active isn't affected (IHI 0048, GICD_ICENABLERn, GICD_ITARGETSRn).
    ///
    /// # Panics
    /// If `intid` is not that of an SPI.
    pub(super) fn route(&self, intid: u32, target: u8) {
        let spi = spi_index(intid);
        let bit = 1 << (spi % 32);
        let _held = self.spis.lock();
        let mut registers = self.registers();
        // The target may only change while the SPI is off. The writes arrive in this order. An
        // interrupt that the line signals meanwhile comes after the last.
        let was_on = read_word!(registers, isenabler, spi / 32) & bit != 0;
        if was_on {
            write_word!(registers, icenabler, spi / 32, bit);
        }
        set_target(registers.reborrow(), spi, target);
        if was_on {
            write_word!(registers, isenabler, spi / 32, bit);
        }
    }

    /// Makes SPI `intid` pending. Takes a lock.
    ///
    /// # Panics
    /// If `intid` is not that of an SPI.
    pub(super) fn set_pending(&self, intid: u32) {
        let spi = spi_index(intid);
        let _held = self.spis.lock();
        let mut registers = self.registers();
        write_word!(registers, ispendr, spi / 32, 1 << (spi % 32));
    }
}

/// Returns `intid` as an index.
///
/// # Panics
/// If it is not that of an SPI.
fn spi_index(intid: u32) -> usize {
    let spi = usize::try_from(intid).ok();
    let spi = spi.filter(|spi| (FIRST_SPI..END_OF_SPIS).contains(spi));
    spi.expect("BUG: INTIDs of SPIs are 32 to 1019")
}

/// Returns the INTID behind that of the last SPI that there is.
fn end_of_spis(typer: Typer) -> usize {
    (typer.num_irqs() as usize).min(END_OF_SPIS)
}

/// Puts all SPIs into a known state. The GIC ignores the writes for an SPI that Security
/// Extensions reserve for secure software.
fn reset_spis(mut registers: UniqueMmioPointer<'_, Gicd>, typer: Typer) {
    let end = end_of_spis(typer);
    for word in FIRST_SPI / 32..end.div_ceil(32) {
        write_word!(registers, icenabler, word, u32::MAX);
        write_word!(registers, igroupr, word, 0);
        // Xen reads this register as zero, and answers a write with an abort.
        let pending = read_word!(registers, icpendr, word);
        if pending != 0 {
            write_word!(registers, icpendr, word, pending);
        }
        write_word!(registers, icactiver, word, u32::MAX);
    }
    for word in FIRST_SPI / 4..end.div_ceil(4) {
        write_word!(registers, ipriorityr, word, PRIORITIES);
        write_targets(registers.reborrow(), word, 0);
    }
}

/// Sets how the line of interrupt `intid` triggers. The interrupt must be off. If the
/// trigger is fixed in hardware, the GIC ignores the write.
fn set_trigger(mut registers: UniqueMmioPointer<'_, Gicd>, intid: usize, trigger: Trigger) {
    let mut word = field!(registers, icfgr);
    let mut word = word
        .get(intid / 16)
        .expect("BUG: there are registers for INTIDs up to 1023");
    word.modify(|value| with_trigger(value, intid, trigger));
}

/// Routes SPI `intid` to the CPU interfaces of `target`. The three other SPIs in the same
/// word keep their targets.
fn set_target(mut registers: UniqueMmioPointer<'_, Gicd>, intid: usize, target: u8) {
    let mut bytes = read_targets(registers.reborrow(), intid / 4).to_le_bytes();
    bytes[intid % 4] = target;
    write_targets(registers, intid / 4, u32::from_le_bytes(bytes));
}

/// Returns GICD_ITARGETSR`word`.
fn read_targets(mut registers: UniqueMmioPointer<'_, Gicd>, word: usize) -> u32 {
    let mut targets = field!(registers, itargetsr);
    let mut word = targets
        .get(word)
        .expect("BUG: there are registers for INTIDs up to 1023");
    // SAFETY: reading a target register changes nothing.
    unsafe { word.read_unsafe() }
}

/// Writes GICD_ITARGETSR`word`. A GIC with a single CPU interface ignores that.
fn write_targets(mut registers: UniqueMmioPointer<'_, Gicd>, word: usize, value: u32) {
    let mut targets = field!(registers, itargetsr);
    let mut word = targets
        .get(word)
        .expect("BUG: there are registers for INTIDs up to 1023");
    // SAFETY: a target register takes every value, and touches no memory.
    unsafe { word.write_unsafe(value) };
}
