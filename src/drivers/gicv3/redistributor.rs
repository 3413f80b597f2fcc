//! The part of a GICv3 that each CPU has to itself: SGIs and PPIs.
//!
//! A redistributor is found by the affinity that it says it serves, never by
//! its place: neither the order of the frames nor their number need agree with
//! the device tree's CPUs.
//!
//! `arm-gic` drives the registers. Its iterator over frames isn't used: it hides
//! their addresses, runs to the last frame without regard to the end of the
//! region, and doesn't know the device tree's stride. Nor are its waits, which
//! have no limit.
//!
//! # Sources
//! IHI 0069: GICR_TYPER, GICR_WAKER, GICR_CTLR.RWP, the SGI frame's registers.

use core::ops::Range;
use core::ptr::NonNull;
use core::time::Duration;

use arm_gic::gicv3::GicRedistributor;
use arm_gic::gicv3::registers::{GicrCtlr, GicrSgi, GicrTyper, Waker};
use arm_gic::{IntId, UniqueMmioPointer};
use safe_mmio::{field, field_shared};

use super::{FRAME, GicInitError, WRITE_LIMIT, device_pointer, gic_trigger};
use crate::arch::aarch64::timer;
use crate::cpu::Mpidr;
use crate::drivers::gic::{PRIORITY_WORDS, WAKE_AND_PANIC, priority_of};
use crate::platform::{IrqChipError, Trigger};

/// How long a redistributor may take to wake.
const WAKE_LIMIT: Duration = Duration::from_millis(100);

/// Distance of two redistributors: two frames of 64 KiB, or four where they
/// deliver virtual LPIs too.
const STRIDE: u64 = 2 * FRAME;
const STRIDE_VLPI: u64 = 4 * FRAME;

/// Writes word 0 of a register of the SGI frame: the one of SGIs and PPIs.
macro_rules! write_private {
    ($redistributor:expr, $register:ident, $value:expr) => {{
        let mut registers = $redistributor.registers();
        let mut frame = field!(registers, sgi);
        let [mut word, ..] = field!(frame, $register).split();
        word.write($value);
    }};
}

/// The redistributor of one CPU.
///
/// Once the machine runs, only the CPU that it belongs to calls its methods,
/// with IRQs masked; that is why they can make a unique pointer each time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Redistributor {
    base: NonNull<GicrSgi>,
    mpidr: Mpidr,
}

impl Redistributor {
    /// Walks the redistributors of `region` and gives each to `found`.
    ///
    /// # Errors
    /// [`GicInitError::BadAddress`] or [`GicInitError::BadStride`] if the
    /// region can't be one.
    ///
    /// # Safety
    /// `region` must be mapped as device memory, hold redistributors without a
    /// gap up to the one that says it is the last, or to its end, and be used
    /// by nobody else while they are.
    pub(super) unsafe fn walk(
        region: &Range<u64>,
        stride: Option<u64>,
        mut found: impl FnMut(Redistributor),
    ) -> Result<(), GicInitError> {
        if stride.is_some_and(|stride| stride < STRIDE || !stride.is_multiple_of(FRAME)) {
            return Err(GicInitError::BadStride);
        }
        let mut at = region.start;
        while region.end.saturating_sub(at) >= STRIDE {
            let base = device_pointer(at)?;
            let mut redistributor = Redistributor {
                base,
                mpidr: Mpidr::from_register(0),
            };
            let typer = redistributor.typer();
            redistributor.mpidr = Mpidr::from_register(typer.core_mpidr());
            found(redistributor);
            if typer.last_redistributor() {
                break;
            }
            let own = if typer.virtual_lpis_supported() {
                STRIDE_VLPI
            } else {
                STRIDE
            };
            at = at.saturating_add(stride.unwrap_or(own));
        }
        Ok(())
    }

    /// The affinity of the CPU that this serves.
    pub(super) const fn mpidr(&self) -> Mpidr {
        self.mpidr
    }

    fn typer(&self) -> GicrTyper {
        GicRedistributor::new(self.registers()).typer()
    }

    fn registers(&self) -> UniqueMmioPointer<'_, GicrSgi> {
        // SAFETY: the caller of `walk` promised that these are redistributors
        // and nobody else's; that no two pointers are in use at once is said at
        // the type.
        unsafe { UniqueMmioPointer::new(self.base) }
    }

    /// Tells the redistributor that its CPU is awake, and waits until it
    /// believes it. Where the register is reserved for secure software it reads
    /// as awake, and firmware has done this.
    ///
    /// # Errors
    /// [`IrqChipError::RedistributorAsleep`] after 100 ms.
    pub(super) fn wake(&self) -> Result<(), IrqChipError> {
        let mut registers = self.registers();
        let mut control = field!(registers, gicr);
        let mut waker = field!(control, waker);
        waker.modify(|value| value - Waker::PROCESSOR_SLEEP);
        let awake = || !waker.read().contains(Waker::CHILDREN_ASLEEP);
        if timer::poll(WAKE_LIMIT, awake) {
            Ok(())
        } else {
            Err(IrqChipError::RedistributorAsleep(self.mpidr))
        }
    }

    /// Puts all private interrupts into a known state, whatever the last user
    /// of this CPU left behind: group 1, our two priorities, neither pending
    /// nor active, and all off but wake and panic.
    ///
    /// An SGI that was sent to the CPU while it was off is pending here, and one
    /// that was active when it went down still is. Whole words are written, not
    /// an interrupt at a time: a hypervisor traps each access, and this is part
    /// of every CPU's way up.
    pub(super) fn reset(&self) {
        // The extended PPIs too, of which we use none.
        GicRedistributor::new(self.registers()).enable_all_interrupts(false);
        self.wait_for_write();
        write_private!(self, igroupr, u32::MAX);
        write_private!(self, igrpmodr, 0);
        self.set_priorities();
        self.clear_pending(u32::MAX);
        write_private!(self, icactiver, u32::MAX);
        self.enable(WAKE_AND_PANIC);
    }

    fn set_priorities(&self) {
        let mut registers = self.registers();
        let mut frame = field!(registers, sgi);
        let words = field!(frame, ipriorityr).split();
        for (at, mut word) in words.into_iter().take(PRIORITY_WORDS).enumerate() {
            let bytes = core::array::from_fn(|byte| priority_of(at * 4 + byte));
            word.write(u32::from_le_bytes(bytes));
        }
    }

    /// Turns the SGIs and PPIs of `bits` on.
    pub(super) fn enable(&self, bits: u32) {
        write_private!(self, isenabler, bits);
    }

    /// Turns the SGIs and PPIs of `bits` off; none of them comes any more once
    /// this has returned.
    pub(super) fn disable(&self, bits: u32) {
        write_private!(self, icenabler, bits);
        self.wait_for_write();
    }

    /// Which SGIs and PPIs are pending.
    pub(super) fn pending(&self) -> u32 {
        let mut registers = self.registers();
        let mut frame = field!(registers, sgi);
        let [word, ..] = field!(frame, ispendr).split();
        word.read()
    }

    /// Takes back the pending SGIs and PPIs of `bits`.
    pub(super) fn clear_pending(&self, bits: u32) {
        write_private!(self, icpendr, bits);
    }

    /// Says how the line of PPI `intid` triggers; it must be off. Where this is
    /// fixed in hardware the write is ignored.
    pub(super) fn set_trigger(&self, intid: IntId, trigger: Trigger) {
        GicRedistributor::new(self.registers())
            .set_trigger(intid, gic_trigger(trigger))
            .expect("BUG: the caller has checked that this is a PPI");
    }

    /// Waits until a write that turned something off has reached everybody. Not
    /// an error if it takes too long: nobody above could do anything about it.
    fn wait_for_write(&self) {
        let registers = self.registers();
        let frame = field_shared!(registers, gicr);
        let control = field_shared!(frame, ctlr);
        timer::poll(WRITE_LIMIT, || !control.read().contains(GicrCtlr::RWP));
    }
}
