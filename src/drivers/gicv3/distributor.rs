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
use crate::platform::Trigger;

/// Bits of GICD_CTLR, named by their meaning for us. They mean the same in the non-secure
/// view and in the view of a GIC with one security state; `arm-gic` names them after the
/// secure view.
const AFFINITY_ROUTING: GicdCtlr = GicdCtlr::ARE_S;
const GROUP_1: GicdCtlr = GicdCtlr::EnableGrp1NS;
const ALL_GROUPS: GicdCtlr = GicdCtlr::EnableGrp0
    .union(GicdCtlr::EnableGrp1NS)
    .union(GicdCtlr::EnableGrp1S);

/// INTID of the first shared interrupt.
const FIRST_SPI: usize = 32;

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

/// The distributor, set up. A lock guards its registers.
#[derive(Debug)]
pub(super) struct Distributor {
    registers: SpinMutex<UniqueMmioPointer<'static, Gicd>, YieldRelax>,
    /// GICD_TYPER.RSS: whether SGIs can reach CPUs whose affinity level 0 is above 15.
    range_selector: bool,
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
        reset_spis(registers.reborrow(), typer.num_spis() as usize);
        field!(registers, ctlr).modify(|control| control | GROUP_1);
        wait_for_write(&registers)?;

        Ok(Distributor {
            registers: SpinMutex::new(registers),
            range_selector: typer.range_selector_support() == RangeSelectorSupport::AffZero256,
        })
    }

    /// Returns whether SGIs can reach CPUs whose affinity level 0 is above 15.
    pub(super) const fn range_selector(&self) -> bool {
        self.range_selector
    }

    /// Routes SPI `intid` to the CPU `target` and turns it on. Takes a lock.
    ///
    /// # Panics
    /// If `intid` is not that of an SPI.
    pub(super) fn enable_spi(&self, intid: u32, trigger: Trigger, target: Mpidr) {
        self.change_spi(intid, target, Some(trigger));
    }

    /// Routes SPI `intid`, which is on, to the CPU `target`. Takes a lock.
    ///
    /// Once the SPI is off, the CPU interface that it went to doesn't signal it any more, and
    /// an interrupt that is pending stays so until it is on again (IHI 0069, GICD_ICENABLERn
    /// and GICD_CTLR.RWP). One that is active isn't affected.
    ///
    /// # Panics
    /// If `intid` is not that of an SPI.
    pub(super) fn route_spi(&self, intid: u32, target: Mpidr) {
        self.change_spi(intid, target, None);
    }

    /// Routes SPI `intid` to the CPU `target` and turns it on, with the trigger `trigger` or
    /// the one that it has.
    fn change_spi(&self, intid: u32, target: Mpidr, trigger: Option<Trigger>) {
        const ACCEPTED: &str = "BUG: arm-gic refuses a valid SPI";
        let spi = IntId::try_from(intid).ok().filter(|intid| intid.is_spi());
        let spi = spi.expect("BUG: INTIDs of SPIs are 32 to 1019");
        let mut registers = self.registers.lock();
        // Trigger and route may only change while the SPI is off. A time-out is ignored,
        // because no caller could do anything about it.
        let mut chip = GicDistributor::new(registers.reborrow());
        chip.enable_interrupt(spi, false).expect(ACCEPTED);
        wait_for_write(&registers).ok();
        let mut chip = GicDistributor::new(registers.reborrow());
        if let Some(trigger) = trigger {
            chip.set_trigger(spi, gic_trigger(trigger)).expect(ACCEPTED);
        }
        chip.set_routing(spi, Some(target.raw())).expect(ACCEPTED);
        chip.enable_interrupt(spi, true).expect(ACCEPTED);
    }
}

/// Puts `count` SPIs, all of them off, into a known state.
fn reset_spis(mut registers: UniqueMmioPointer<'_, Gicd>, count: usize) {
    let end = FIRST_SPI + count;
    for word in FIRST_SPI / 32..end.div_ceil(32) {
        write_word!(registers, igroupr, word, u32::MAX);
        write_word!(registers, icpendr, word, u32::MAX);
        write_word!(registers, icactiver, word, u32::MAX);
    }
    for word in FIRST_SPI / 4..end.div_ceil(4) {
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
