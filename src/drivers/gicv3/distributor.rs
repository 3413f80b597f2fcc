//! The part of a GICv3 that all CPUs share: shared interrupts.
//!
//! # Sources
//! IHI 0069: GICD_CTLR (its non-secure and its one-security-state views),
//! GICD_TYPER, GICD_PIDR2, the registers of SPIs.

use arm_gic::gicv3::GicDistributor;
use arm_gic::gicv3::registers::{Gicd, GicdCtlr, RangeSelectorSupport};
use arm_gic::{IntId, UniqueMmioPointer};
use safe_mmio::{field, field_shared};
use spin::mutex::SpinMutex;

use super::{GicInitError, WRITE_LIMIT, device_pointer, gic_trigger};
use crate::arch::aarch64::timer;
use crate::config::PRIORITY_NORMAL;
use crate::cpu::Mpidr;
use crate::drivers::gic::YieldRelax;
use crate::platform::{END_OF_SPIS, FIRST_SPI, Trigger};

/// Bits of GICD_CTLR, named by their meaning for us. They mean the same in the non-secure
/// view and in the view of a GIC with one security state; `arm-gic` names them after the
/// secure view.
const AFFINITY_ROUTING: GicdCtlr = GicdCtlr::ARE_S;
const GROUP_1: GicdCtlr = GicdCtlr::EnableGrp1NS;
const ALL_GROUPS: GicdCtlr = GicdCtlr::EnableGrp0
    .union(GicdCtlr::EnableGrp1NS)
    .union(GicdCtlr::EnableGrp1S);

/// A priority word: the priority of four SPIs.
const PRIORITIES: u32 = u32::from_le_bytes([PRIORITY_NORMAL; 4]);

/// Writes one word of a bank of registers.
macro_rules! write_word {
    ($registers:expr, $bank:ident, $word:expr, $value:expr) => {
        field!($registers, $bank)
            .get($word)
            .expect("BUG: GICD_TYPER counts more SPIs than there are registers")
            .write($value)
    };
}

/// Reads one word of a bank of registers.
macro_rules! read_word {
    ($registers:expr, $bank:ident, $word:expr) => {
        field_shared!($registers, $bank)
            .get($word)
            .expect("BUG: there are registers for INTIDs up to 1019")
            .read()
    };
}

/// The distributor, set up. A lock guards its registers.
#[derive(Debug)]
pub(super) struct Distributor {
    registers: SpinMutex<UniqueMmioPointer<'static, Gicd>, YieldRelax>,
    /// GICD_TYPER.RSS: whether SGIs can reach CPUs whose affinity level 0 is above 15.
    range_selector: bool,
    /// How many SPIs there are.
    spis: usize,
}

impl Distributor {
    /// Sets the distributor at `base` up and returns it. Every shared interrupt is off, in
    /// group 1, of our ordinary priority, neither pending nor active. Affinity routing
    /// and group 1 are on.
    ///
    /// # Errors
    /// [`GicInitError`] if no GICv3 is at `base`, or a write to GICD_CTLR doesn't complete.
    ///
    /// # Safety
    /// `base` must be a GICv3's distributor, mapped as device memory for ever
    /// and used by nothing else.
    pub(super) unsafe fn new(base: u64) -> Result<Distributor, GicInitError> {
        let base = device_pointer::<Gicd>(base)?;
        // SAFETY: promised by the caller.
        let mut registers = unsafe { UniqueMmioPointer::new(base) };
        let revision = field_shared!(registers, pidr2).read().arch_rev();
        if !matches!(revision, 3 | 4) {
            return Err(GicInitError::WrongRevision(revision));
        }

        // Affinity routing may only change while no group is on.
        field!(registers, ctlr).modify(|control| control - ALL_GROUPS);
        wait_for_write(&registers)?;
        field!(registers, ctlr).modify(|control| control | AFFINITY_ROUTING);
        wait_for_write(&registers)?;

        let typer = field_shared!(registers, typer).read();
        GicDistributor::new(registers.reborrow()).enable_all_interrupts(false);
        wait_for_write(&registers)?;
        let spis = (typer.num_spis() as usize).min((END_OF_SPIS - FIRST_SPI) as usize);
        reset_spis(registers.reborrow(), spis);
        field!(registers, ctlr).modify(|control| control | GROUP_1);
        wait_for_write(&registers)?;

        Ok(Distributor {
            registers: SpinMutex::new(registers),
            spis,
            range_selector: typer.range_selector_support() == RangeSelectorSupport::AffZero256,
        })
    }

    /// Returns whether SGIs can reach CPUs whose affinity level 0 is above 15.
    pub(super) const fn range_selector(&self) -> bool {
        self.range_selector
    }

    /// Returns how many SPIs there are.
    pub(super) const fn spis(&self) -> usize {
        self.spis
    }

    /// Has the line of SPI `intid`, which is off, trigger as `trigger` says and go to the CPU
    /// `target`. Takes a lock.
    pub(super) fn set_up(&self, intid: u32, trigger: Trigger, target: Mpidr) {
        let spi = spi(intid);
        let mut registers = self.registers.lock();
        let mut chip = GicDistributor::new(registers.reborrow());
        chip.set_trigger(spi, gic_trigger(trigger)).expect(ACCEPTED);
        chip.set_routing(spi, Some(target.raw())).expect(ACCEPTED);
    }

    /// Turns SPI `intid` off. Takes a lock.
    ///
    /// On return the CPU interface that it went to doesn't signal it any more. An interrupt that
    /// is pending stays so until it is on again (IHI 0069, GICD_ICENABLERn and GICD_CTLR.RWP).
    pub(super) fn mask(&self, intid: u32) {
        turn_off(&mut self.registers.lock(), spi(intid));
    }

    /// Turns SPI `intid` on. Takes a lock.
    pub(super) fn unmask(&self, intid: u32) {
        let mut registers = self.registers.lock();
        let mut chip = GicDistributor::new(registers.reborrow());
        chip.enable_interrupt(spi(intid), true).expect(ACCEPTED);
    }

    /// Routes SPI `intid`, which is on or off, to the CPU `target`. Takes a lock.
    ///
    /// The route may only change while the SPI is off, so it is off for a moment: see
    /// [`Distributor::mask`]. An interrupt that is active isn't affected.
    pub(super) fn route(&self, intid: u32, target: Mpidr) {
        let spi = spi(intid);
        let mut registers = self.registers.lock();
        let was_on = read_word!(registers, isenabler, intid as usize / 32) & 1 << (intid % 32) != 0;
        if was_on {
            turn_off(&mut registers, spi);
        }
        let mut chip = GicDistributor::new(registers.reborrow());
        chip.set_routing(spi, Some(target.raw())).expect(ACCEPTED);
        if was_on {
            chip.enable_interrupt(spi, true).expect(ACCEPTED);
        }
    }

    /// Makes SPI `intid` pending. Takes a lock.
    pub(super) fn set_pending(&self, intid: u32) {
        let mut registers = self.registers.lock();
        write_word!(registers, ispendr, intid as usize / 32, 1 << (intid % 32));
    }
}

/// What a call fails with that `arm-gic` refuses.
const ACCEPTED: &str = "BUG: arm-gic refuses a valid SPI";

/// Returns SPI `intid` as `arm-gic` names it.
///
/// # Panics
/// If `intid` is not that of an SPI.
fn spi(intid: u32) -> IntId {
    let spi = IntId::try_from(intid).ok().filter(|intid| intid.is_spi());
    spi.expect("BUG: INTIDs of SPIs are 32 to 1019")
}

/// Turns `spi` off and waits until that has taken effect. A time-out is ignored, because no
/// caller could do anything about it.
fn turn_off(registers: &mut UniqueMmioPointer<'_, Gicd>, spi: IntId) {
    let mut chip = GicDistributor::new(registers.reborrow());
    chip.enable_interrupt(spi, false).expect(ACCEPTED);
    wait_for_write(registers).ok();
}

/// Puts `count` SPIs, all of them off, into a known state.
fn reset_spis(mut registers: UniqueMmioPointer<'_, Gicd>, count: usize) {
    let first = FIRST_SPI as usize;
    let end = first + count;
    for word in first / 32..end.div_ceil(32) {
        write_word!(registers, igroupr, word, u32::MAX);
        write_word!(registers, icpendr, word, u32::MAX);
        write_word!(registers, icactiver, word, u32::MAX);
    }
    for word in first / 4..end.div_ceil(4) {
        write_word!(registers, ipriorityr, word, PRIORITIES);
    }
}

/// Waits until a write to GICD_CTLR, or one that turned an interrupt off, has taken effect
/// for every CPU.
///
/// # Errors
/// [`GicInitError::WritePending`] after [`WRITE_LIMIT`].
fn wait_for_write(registers: &UniqueMmioPointer<'_, Gicd>) -> Result<(), GicInitError> {
    let control = field_shared!(registers, ctlr);
    if timer::poll(WRITE_LIMIT, || !control.read().contains(GicdCtlr::RWP)) {
        Ok(())
    } else {
        Err(GicInitError::WritePending)
    }
}
