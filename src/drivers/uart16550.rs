//! The registers of a 16550 or a compatible UART, in memory.
//!
//! [`crate::device::Ns16550`] says what is written to them, and when.

use core::ptr::{self, NonNull};
use core::time::Duration;

use safe_mmio::UniqueMmioPointer;
use safe_mmio::fields::ReadWrite;

use crate::arch::aarch64::timer;
use crate::device::{Layout, Port, RegisterWidth};

/// The registers of a UART, at the places that a layout gives.
#[derive(Debug)]
pub struct MmioPort {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the pointer is to device registers, which any CPU may use.
unsafe impl Send for MmioPort {}
// SAFETY: as for `Send`; each access is a single load or store, and `device::Ns16550` says
// which contexts can access the registers at the same time.
unsafe impl Sync for MmioPort {}

impl MmioPort {
    /// Returns the registers at `base`; `None` if the address is 0 or not aligned, or the
    /// layout is unusable. Touches no register.
    ///
    /// # Safety
    /// `base` must be the address of a UART with registers of this layout. All
    /// [`Layout::size`] bytes must be mapped as device memory for as long as the result is
    /// used (or the MMU is off). Only the early console may use the UART too, and not at
    /// the same time.
    pub unsafe fn new(base: u64, layout: Layout) -> Option<MmioPort> {
        let address = usize::try_from(base).ok()?;
        let width = usize::try_from(layout.width.bytes()).ok()?;
        layout.size()?;
        let base = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(address))?;
        address
            .is_multiple_of(width)
            .then_some(MmioPort { base, layout })
    }

    /// Returns the pointer to the register of this number.
    fn register(&self, number: u32) -> NonNull<u8> {
        let offset = usize::try_from(number << self.layout.shift)
            .expect("BUG: a register's offset is small");
        // SAFETY: `device::Ns16550` uses only registers that lie within `Layout::size`,
        // and the caller of `new` promised that all of them are there.
        unsafe { self.base.byte_add(offset) }
    }

    fn byte(&self, number: u32) -> UniqueMmioPointer<'_, ReadWrite<u8>> {
        // SAFETY: it is a register of the UART. Two pointers exist at once only during a
        // panic. That is harmless, because each makes one access.
        unsafe { UniqueMmioPointer::new(self.register(number).cast()) }
    }

    fn word(&self, number: u32) -> UniqueMmioPointer<'_, ReadWrite<u32>> {
        // SAFETY: as in `byte`; `new` and `Layout::size` have checked its alignment.
        unsafe { UniqueMmioPointer::new(self.register(number).cast()) }
    }
}

impl Port for MmioPort {
    fn read(&self, register: u32) -> u8 {
        match self.layout.width {
            RegisterWidth::Byte => self.byte(register).read(),
            RegisterWidth::Word => {
                let [low, ..] = self.word(register).read().to_le_bytes();
                low
            }
        }
    }

    fn write(&self, register: u32, value: u8) {
        match self.layout.width {
            RegisterWidth::Byte => self.byte(register).write(value),
            RegisterWidth::Word => self.word(register).write(u32::from(value)),
        }
    }

    fn poll(&self, limit: Duration, done: impl FnMut() -> bool) -> bool {
        timer::poll(limit, done)
    }
}
