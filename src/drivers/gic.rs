//! What the drivers of all GICs have in common: which SGI has which priority,
//! the proof that the priorities work, and the counting of sent SGIs.
//!
//! # Priorities
//! Wake and panic are at 0x40, everything else at 0xc0. A mask of 0xf0 lets all
//! in, 0xb0 those two. With two security states the priorities that we write
//! are shifted on their way in, and the mask is or is not; these values keep
//! their order either way. [`check_priorities`] proves it on the machine at hand.

use core::time::Duration;

use crate::arch::aarch64::timer;
use crate::config::{PMR_CLOSED, PMR_OPEN, PRIORITY_NORMAL, PRIORITY_WAKE};
use crate::cpu::{CpuId, CpuMask};
use crate::platform::{Irq, IrqChip, IrqChipError, SGI_COUNT, Sgi};
use crate::sync::CachePadded;
use crate::sync::atomic::{AtomicU64, Ordering};

/// All SGIs, as bits of the enable, pending and active registers.
pub(super) const ALL_SGIS: u32 = 0xffff;

/// The SGIs that are never turned off while a CPU runs.
pub(super) const WAKE_AND_PANIC: u32 = 1 << Sgi::Wake.number() | 1 << Sgi::Panic.number();

/// Priority registers that hold the SGIs and PPIs, four to a word.
pub(super) const PRIORITY_WORDS: usize = 32 / 4;

/// How long a self-SGI may take in [`check_priorities`].
const SGI_LIMIT: Duration = Duration::from_millis(100);

/// The priority of SGI or PPI `number`.
pub(super) const fn priority_of(number: usize) -> u8 {
    if WAKE_AND_PANIC & (1 << number) != 0 {
        PRIORITY_WAKE
    } else {
        PRIORITY_NORMAL
    }
}

/// How a lock of these drivers waits: `YIELD`, because the `ISB` that `spin`
/// would use gives an emulator nothing back.
pub(super) struct YieldRelax;

impl spin::RelaxStrategy for YieldRelax {
    fn relax() {
        timer::relax();
    }
}

/// Register writes for each SGI number that one CPU has made. Counters: nobody
/// synchronises on them.
#[derive(Debug)]
pub(super) struct SgiWrites(CachePadded<[AtomicU64; SGI_COUNT]>);

impl SgiWrites {
    pub(super) const fn new() -> SgiWrites {
        SgiWrites(CachePadded([const { AtomicU64::new(0) }; SGI_COUNT]))
    }

    pub(super) fn add(&self, number: u8, writes: u64) {
        self.0[usize::from(number)].fetch_add(writes, Ordering::Relaxed);
    }

    pub(super) fn get(&self, number: u8) -> u64 {
        self.0[usize::from(number)].load(Ordering::Relaxed)
    }
}

/// What [`check_priorities`] needs of a chip beyond [`IrqChip`]: the SGIs of the
/// CPU `me` that it runs on, one by one.
pub(super) trait OwnSgis: IrqChip {
    /// Turns the SGIs of `bits` on, at their priorities.
    fn enable_sgis(&self, me: CpuId, bits: u32);

    /// Turns all private interrupts but wake and panic off, and takes back what
    /// is pending.
    fn quieten(&self, me: CpuId);

    /// Which SGIs are pending.
    fn pending_sgis(&self, me: CpuId) -> u32;
}

/// Does what [`IrqChip::check_priorities`] promises, with the SGIs for wake and
/// reschedule. To be called before [`IrqChip::startup_cpu`] and before any PPI
/// or SPI is on, so that nothing else can come.
///
/// # Errors
/// [`IrqChipError::PrioritiesUnusable`].
pub(super) fn check_priorities(chip: &impl OwnSgis, me: CpuId) -> Result<(), IrqChipError> {
    let ordinary = Sgi::Reschedule.number();
    chip.enable_sgis(me, 1 << ordinary);
    chip.set_priority_mask(PMR_CLOSED);
    let separated = only_urgent_gets_through(chip, me);
    chip.set_priority_mask(PMR_OPEN);
    // What was held back comes now, and shows that the open mask is open.
    let opened = comes(chip, ordinary);
    chip.quieten(me);
    if separated && opened {
        Ok(())
    } else {
        Err(IrqChipError::PrioritiesUnusable)
    }
}

/// What [`check_priorities`] does between closing the mask and opening it again,
/// whatever comes out.
fn only_urgent_gets_through(chip: &impl OwnSgis, me: CpuId) -> bool {
    let own = CpuMask::of(me);
    let ordinary = Sgi::Reschedule.number();
    chip.send_sgi(ordinary, &own);
    // Pending first: before that, nothing to acknowledge proves nothing.
    let arrived = timer::poll(SGI_LIMIT, || chip.pending_sgis(me) & (1 << ordinary) != 0);
    if !arrived || chip.acknowledge().is_some() {
        return false;
    }
    let urgent = Sgi::Wake.number();
    chip.send_sgi(urgent, &own);
    comes(chip, urgent) && chip.acknowledge().is_none()
}

/// Whether SGI `number` can be acknowledged within its time. Ends what it
/// acknowledges.
fn comes(chip: &impl OwnSgis, number: u8) -> bool {
    let mut came = None;
    timer::poll(SGI_LIMIT, || {
        came = chip.acknowledge();
        came.is_some()
    });
    came.is_some_and(|(token, irq)| {
        chip.end(token);
        irq == Irq::Sgi(number)
    })
}
