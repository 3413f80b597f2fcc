//! The watchdog of the BCM2835 and its successors, which turns a Raspberry Pi off and
//! resets it.
//!
//! [`last_writes`] says what is written to its registers.

use core::ptr::{self, NonNull};
use core::time::Duration;

use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::register_structs;
use tock_registers::registers::ReadWrite;

use crate::arch::aarch64::timer;
use crate::device::{BCM_WATCHDOG_SIZE, Ending, RSTC, RSTS, WDOG, last_writes};

register_structs! {
    /// Those registers of the power manager that belong to the watchdog.
    Registers {
        (0x00 => _others),
        (0x1c => rstc: ReadWrite<u32, RSTC::Register>),
        (0x20 => rsts: ReadWrite<u32, RSTS::Register>),
        (0x24 => wdog: ReadWrite<u32, WDOG::Register>),
        (0x28 => @END),
    }
}

const _: () = assert!(size_of::<Registers>() as u64 == BCM_WATCHDOG_SIZE);

/// How long the end may take after the last write: several times the watchdog's delay.
const END_LIMIT: Duration = Duration::from_secs(1);

/// The watchdog.
#[derive(Debug)]
pub struct BcmWatchdog {
    base: NonNull<Registers>,
}

// SAFETY: the pointer is to device registers, which any CPU may use.
unsafe impl Send for BcmWatchdog {}
// SAFETY: as for `Send`. Two CPUs that end the machine at once write the same words,
// or one of two endings that were both asked for.
unsafe impl Sync for BcmWatchdog {}

impl BcmWatchdog {
    /// Returns the watchdog of the power manager at `base`; `None` if the address is 0 or
    /// not aligned. Touches no register.
    ///
    /// # Safety
    /// `base` must be the address of such a power manager's registers, mapped as
    /// device memory for ever and used by nothing else.
    pub unsafe fn new(base: u64) -> Option<BcmWatchdog> {
        let address = usize::try_from(base).ok()?;
        let base = NonNull::new(ptr::with_exposed_provenance_mut::<Registers>(address))?;
        base.is_aligned().then_some(BcmWatchdog { base })
    }

    /// Turns the machine off or resets it. Returns only if that didn't happen within a
    /// second.
    pub fn end(&self, how: Ending) {
        // SAFETY: the caller of `new` promised that the registers are there, for ever.
        // Each access of `tock_registers` is one volatile load or store. No hypervisor
        // emulates this device, so it doesn't matter which instruction the compiler picks.
        let registers = unsafe { self.base.as_ref() };
        let writes = last_writes(how, registers.rsts.extract(), registers.rstc.extract());
        registers.rsts.set(writes.rsts.get());
        registers.wdog.set(writes.wdog.get());
        registers.rstc.set(writes.rstc.get());
        timer::poll(END_LIMIT, || false);
    }
}
