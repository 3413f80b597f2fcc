//! The common parts of the GIC drivers: running the check of the priorities, and
//! counting sent SGIs. [`crate::device::gic`] says what is written to the registers.

use core::time::Duration;

use crate::arch::aarch64::{hint, timer};
use crate::cpu::{CpuId, CpuMask};
use crate::device::gic::{self, OwnSgis};
use crate::platform::{FIRST_SPI, Irq, IrqChip, IrqChipError, OUR_SGI_COUNT, Sgi};
use crate::sync::CachePadded;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Makes the locks of these drivers wait with `YIELD`, which lets an emulator with one
/// host thread run another CPU. The `ISB` that `spin` would use doesn't.
pub(super) struct YieldRelax;

impl spin::RelaxStrategy for YieldRelax {
    fn relax() {
        hint::relax();
    }
}

/// Returns whether `intid` is that of one of `spis` shared interrupts.
pub(super) fn is_line(intid: u32, spis: usize) -> bool {
    intid
        .checked_sub(FIRST_SPI)
        .is_some_and(|at| (at as usize) < spis)
}

/// How many register writes one CPU has made to send SGIs, for each SGI number. Relaxed:
/// nothing synchronises on them.
#[derive(Debug)]
pub(super) struct SgiWrites(CachePadded<[AtomicU64; OUR_SGI_COUNT]>);

impl SgiWrites {
    pub(super) const fn new() -> SgiWrites {
        SgiWrites(CachePadded([const { AtomicU64::new(0) }; OUR_SGI_COUNT]))
    }

    pub(super) fn add(&self, number: u8, writes: u64) {
        self.0[usize::from(number)].fetch_add(writes, Ordering::Relaxed);
    }

    pub(super) fn get(&self, number: u8) -> u64 {
        self.0[usize::from(number)].load(Ordering::Relaxed)
    }
}

/// What [`check_priorities`] needs from a chip beyond [`IrqChip`]: the SGIs and PPIs of
/// `me`, the running CPU.
pub(super) trait OwnBank: IrqChip {
    /// Turns `sgi` on, at its priority; wake and panic are on already.
    fn turn_on(&self, me: CpuId, sgi: Sgi);

    /// Turns all private interrupts but wake and panic off, and clears those that are
    /// pending.
    fn quieten(&self, me: CpuId);
}

/// A chip, and the running CPU.
struct ThisCpu<'a, C> {
    chip: &'a C,
    me: CpuId,
}

impl<C: OwnBank> OwnSgis for ThisCpu<'_, C> {
    fn turn_on(&self, sgi: Sgi) {
        self.chip.turn_on(self.me, sgi);
    }

    fn quieten(&self) {
        self.chip.quieten(self.me);
    }

    fn set_priority_mask(&self, mask: u8) {
        self.chip.set_priority_mask(mask);
    }

    fn send(&self, sgi: Sgi) {
        self.chip.send_sgi(sgi.number(), &CpuMask::of(self.me));
    }

    fn take(&self) -> Option<Irq> {
        let (token, irq) = self.chip.acknowledge()?;
        self.chip.end(token);
        Some(irq)
    }

    fn poll(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        timer::poll(limit, done)
    }
}

/// Does what [`IrqChip::check_priorities`] promises, on `me`, the running CPU.
///
/// # Errors
/// [`IrqChipError::PrioritiesUnusable`].
pub(super) fn check_priorities(chip: &impl OwnBank, me: CpuId) -> Result<(), IrqChipError> {
    gic::check_priorities(&ThisCpu { chip, me })
}
