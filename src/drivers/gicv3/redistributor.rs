//! The part of a GICv3 that each CPU has to itself: SGIs and PPIs.
//!
//! A redistributor is found by the affinity that it says it serves, never by
//! its place: neither the order of the frames nor their number need agree with
//! the device tree's CPUs.
//!
//! What is written to the registers of SGIs and PPIs is [`GicV3Bank`]'s; `arm-gic`
//! drives the others. Its iterator over frames isn't used: it hides their addresses,
//! runs to the last frame without regard to the end of the region, and doesn't know
//! the device tree's stride. Nor are its waits, which have no limit.
//!
//! # Sources
//! IHI 0069: GICR_TYPER, GICR_WAKER, GICR_CTLR.RWP, the SGI frame's registers.

use core::mem::offset_of;
use core::ops::Range;
use core::ptr::NonNull;
use core::time::Duration;

use aarch64_cpu::asm::barrier;
use arm_gic::UniqueMmioPointer;
use arm_gic::gicv3::GicRedistributor;
use arm_gic::gicv3::registers::{GicrCtlr, GicrSgi, GicrTyper, Sgi, Waker};
use safe_mmio::fields::ReadPureWrite;
use safe_mmio::{field, field_shared};

use super::{FRAME, GicInitError, WRITE_LIMIT, device_pointer};
use crate::arch::aarch64::timer;
use crate::cpu::Mpidr;
use crate::device::gic::{GicV3Bank, ICENABLER, PrivateRegisters};
use crate::platform::IrqChipError;

/// How long a redistributor may take to wake.
const WAKE_LIMIT: Duration = Duration::from_millis(100);

/// Distance of two redistributors: two frames of 64 KiB, or four where they
/// deliver virtual LPIs too.
const STRIDE: u64 = 2 * FRAME;
const STRIDE_VLPI: u64 = 4 * FRAME;

/// Where the second frame begins, that of SGIs and PPIs.
const SGI_FRAME: usize = offset_of!(GicrSgi, sgi);
const _: () = assert!(SGI_FRAME as u64 == FRAME);

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

    /// Does what [`GicV3Bank::reset`] says.
    pub(super) fn reset(&self) {
        let extended = self.typer().max_eppi_count() / 32;
        self.bank().reset(extended as usize);
    }

    /// The SGIs and PPIs of this redistributor's CPU.
    ///
    /// # Context
    /// That CPU, IRQs masked.
    pub(super) const fn bank(&self) -> GicV3Bank<&Self> {
        GicV3Bank::new(self)
    }

    fn register(&self, offset: usize) -> UniqueMmioPointer<'_, ReadPureWrite<u32>> {
        assert!(
            offset.is_multiple_of(4) && offset < size_of::<Sgi>(),
            "BUG: a redistributor's second frame has no register at {offset:#x}"
        );
        // SAFETY: it is inside the second frame, which the caller of `walk` promised to
        // be there.
        let register = unsafe { self.base.byte_add(SGI_FRAME + offset) };
        // SAFETY: the same promise; that no two pointers are in use at once is said at
        // the type.
        unsafe { UniqueMmioPointer::new(register.cast()) }
    }
}

impl PrivateRegisters for &Redistributor {
    fn read(&self, offset: usize) -> u32 {
        self.register(offset).read()
    }

    fn write(&self, offset: usize, value: u32) {
        self.register(offset).write(value);
    }

    /// Reads the frame that was written: a read of another frame may overtake the
    /// writes. Then waits for GICR_CTLR.RWP, which speaks of GICR_ICENABLER0. Not an
    /// error if that takes too long: nobody above could do anything about it. The DSB
    /// waits for the reads.
    fn settle(&self) {
        let _arrived = self.read(ICENABLER);
        let registers = self.registers();
        let frame = field_shared!(registers, gicr);
        let control = field_shared!(frame, ctlr);
        timer::poll(WRITE_LIMIT, || !control.read().contains(GicrCtlr::RWP));
        barrier::dsb(barrier::SY);
    }
}
