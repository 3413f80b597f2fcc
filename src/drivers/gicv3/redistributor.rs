//! The part of a GICv3 that each CPU has to itself: SGIs and PPIs.
//!
//! [`GicV3Bank`] says what is written to the registers of SGIs and PPIs; `arm-gic`
//! accesses the other registers. Two of its functions don't fit:
//!
//! - Its iterator over frames hides their addresses, goes on to the last frame even
//!   beyond the end of the region or where nothing answers, and doesn't know the device
//!   tree's stride. So
//!   [`find_redistributors`](crate::device::gic::find_redistributors) takes its place.
//! - Its waits have no limit.
//!
//! # Sources
//! IHI 0069: GICR_TYPER, GICR_WAKER, GICR_CTLR.RWP, the SGI frame's registers.

use core::mem::offset_of;
use core::ptr::NonNull;
use core::time::Duration;

use aarch64_cpu::asm::barrier;
use arm_gic::UniqueMmioPointer;
use arm_gic::gicv3::GicRedistributor;
use arm_gic::gicv3::registers::{GicrCtlr, GicrSgi, GicrTyper, Sgi, Waker};
use safe_mmio::fields::ReadPureWrite;
use safe_mmio::{field, field_shared};

use super::{GicInitError, WRITE_LIMIT, device_pointer};
use crate::arch::aarch64::traps::{self, Trap};
use crate::arch::aarch64::{probe, timer};
use crate::cpu::Mpidr;
use crate::device::RegisterWidth;
use crate::device::gic::{FRAME, GicV3Bank, ICENABLER, PrivateRegisters, RedistributorType};
use crate::platform::IrqChipError;

/// How long a redistributor may take to wake.
const WAKE_LIMIT: Duration = Duration::from_millis(100);

/// Offset of GICR_TYPER. Each half of the register may be read as a word.
const TYPER: usize = 0x8;

/// Offset of the second frame, that of SGIs and PPIs.
const SGI_FRAME: usize = offset_of!(GicrSgi, sgi);
const _: () = assert!(SGI_FRAME as u64 == FRAME);

/// The redistributor of one CPU.
///
/// Once the machine runs, only the CPU to which it belongs calls its methods,
/// with IRQs masked. That is why each of them can make a unique pointer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Redistributor {
    base: NonNull<GicrSgi>,
    mpidr: Mpidr,
}

impl Redistributor {
    /// Returns the redistributor at `base`, of the CPU `mpidr`. Touches no register.
    ///
    /// # Errors
    /// [`GicInitError::BadAddress`] if no redistributor can be there.
    ///
    /// # Safety
    /// `base` must be mapped as device memory and hold a redistributor, which nothing else
    /// uses for as long as the result is used.
    pub(super) unsafe fn new(base: u64, mpidr: Mpidr) -> Result<Redistributor, GicInitError> {
        let base = device_pointer(base)?;
        Ok(Redistributor { base, mpidr })
    }

    /// Returns whether a device answers at the address.
    pub(super) fn answers(&self) -> bool {
        let typer = self.base.addr().get() + offset_of!(GicrSgi, gicr) + TYPER;
        // SAFETY: the caller of `new` promised that it is mapped as device memory;
        // reading the register changes nothing (IHI 0069, GICR_TYPER).
        unsafe { probe::read(typer as u64, RegisterWidth::Word) }.is_some()
    }

    /// Returns the fields of GICR_TYPER.
    pub(super) fn own_type(&self) -> RedistributorType {
        let typer = self.typer();
        RedistributorType {
            mpidr: Mpidr::from_register(typer.core_mpidr()),
            is_last: typer.last_redistributor(),
            has_vlpis: typer.virtual_lpis_supported(),
        }
    }

    fn typer(&self) -> GicrTyper {
        traps::count(Trap::Gic);
        GicRedistributor::new(self.registers()).typer()
    }

    /// Returns a pointer to the registers, for one access.
    fn registers(&self) -> UniqueMmioPointer<'_, GicrSgi> {
        // SAFETY: the caller of `new` promised that this is a redistributor which nothing
        // else uses. The type says why no two pointers are in use at once.
        unsafe { UniqueMmioPointer::new(self.base) }
    }

    /// Tells the redistributor that its CPU is awake, and waits until the redistributor
    /// is awake too. If the register is reserved for secure software it reads as awake,
    /// and firmware has done this.
    ///
    /// # Errors
    /// [`IrqChipError::RedistributorAsleep`] after 100 ms.
    pub(super) fn wake(&self) -> Result<(), IrqChipError> {
        let mut registers = self.registers();
        let mut control = field!(registers, gicr);
        let mut waker = field!(control, waker);
        traps::count(Trap::Gic);
        // It is awake already where firmware doesn't put it to sleep with its CPU.
        if !waker
            .read()
            .intersects(Waker::PROCESSOR_SLEEP | Waker::CHILDREN_ASLEEP)
        {
            return Ok(());
        }
        traps::count(Trap::Gic);
        traps::count(Trap::Gic); // A modification is a read and a write.
        waker.modify(|value| value - Waker::PROCESSOR_SLEEP);
        let awake = || {
            traps::count(Trap::Gic);
            !waker.read().contains(Waker::CHILDREN_ASLEEP)
        };
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

    /// Returns the SGIs and PPIs of this redistributor's CPU.
    ///
    /// # Context
    /// That CPU, IRQs masked.
    pub(super) const fn bank(&self) -> GicV3Bank<&Self> {
        GicV3Bank::new(self)
    }

    /// Returns a pointer to the register at `offset` of the second frame, for one access.
    fn register(&self, offset: usize) -> UniqueMmioPointer<'_, ReadPureWrite<u32>> {
        traps::count(Trap::Gic);
        assert!(
            offset.is_multiple_of(4) && offset < size_of::<Sgi>(),
            "BUG: a redistributor's second frame has no register at {offset:#x}"
        );
        // SAFETY: it is inside the second frame, which the caller of `new` promised to
        // be there.
        let register = unsafe { self.base.byte_add(SGI_FRAME + offset) };
        // SAFETY: the same promise. The type says why no two pointers are in use at once.
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

    /// First reads the frame that was written, because a read of another frame may
    /// overtake the writes. Then waits until GICR_CTLR.RWP tells that writes to
    /// GICR_ICENABLER0 have taken effect. A time-out is ignored, because no caller could do
    /// anything about it. The DSB waits for the reads.
    fn settle(&self) {
        let _arrived = self.read(ICENABLER);
        let registers = self.registers();
        let frame = field_shared!(registers, gicr);
        let control = field_shared!(frame, ctlr);
        timer::poll(WRITE_LIMIT, || {
            traps::count(Trap::Gic);
            !control.read().contains(GicrCtlr::RWP)
        });
        barrier::dsb(barrier::SY);
    }
}
