//! The watchdog of the BCM2835 and its successors, by which a Raspberry Pi is turned
//! off and reset.
//!
//! What is written is in [`crate::device::ending`].

use core::ptr::{self, NonNull};
use core::time::Duration;

use safe_mmio::UniqueMmioPointer;
use safe_mmio::fields::ReadPureWrite;

use crate::arch::aarch64::timer;
use crate::device::{Ending, RSTC, RSTS, ending};

/// How long the end may take, from the last write on: several times what the watchdog
/// is set to.
const PATIENCE: Duration = Duration::from_secs(1);

/// The watchdog.
#[derive(Debug)]
pub struct BcmWatchdog {
    base: NonNull<u32>,
}

// SAFETY: the pointer is to device registers, which any CPU may use.
unsafe impl Send for BcmWatchdog {}
// SAFETY: as for `Send`. Two CPUs that end the machine at once write the same words,
// or one of two endings that were both asked for.
unsafe impl Sync for BcmWatchdog {}

impl BcmWatchdog {
    /// The watchdog of the power manager at `base`; `None` if there can't be one.
    /// Touches nothing.
    ///
    /// # Safety
    /// `base` must be the address of such a power manager's registers, mapped as
    /// device memory for ever and used by nobody else.
    pub unsafe fn new(base: u64) -> Option<BcmWatchdog> {
        let address = usize::try_from(base).ok()?;
        let base = NonNull::new(ptr::with_exposed_provenance_mut::<u32>(address))?;
        base.is_aligned().then_some(BcmWatchdog { base })
    }

    /// Ends the machine. Returns only if that didn't happen within a second.
    pub fn end(&self, how: Ending) {
        let rsts = self.register(RSTS).read();
        let rstc = self.register(RSTC).read();
        for (offset, value) in ending(how, rsts, rstc) {
            self.register(offset).write(value);
        }
        timer::poll(PATIENCE, || false);
    }

    fn register(&self, offset: usize) -> UniqueMmioPointer<'_, ReadPureWrite<u32>> {
        // SAFETY: the offsets are those of this device's registers, which the caller of
        // `new` promised to be there.
        let register = unsafe { self.base.byte_add(offset) };
        // SAFETY: the same promise; each of these makes one access.
        unsafe { UniqueMmioPointer::new(register.cast()) }
    }
}
