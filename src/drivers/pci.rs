//! The configuration space of a PCI host, in memory (ECAM).

use core::ptr::{self, NonNull};

use safe_mmio::UniqueMmioPointer;
use safe_mmio::fields::ReadPureWrite;

use crate::device::pci::{ConfigSpace, Function};

/// The configuration space of a host's first bus.
#[derive(Debug)]
pub struct Ecam {
    base: NonNull<u8>,
}

impl Ecam {
    /// Returns the configuration space at `base`; `None` if the address is 0 or not aligned. Touches
    /// no register.
    ///
    /// # Safety
    /// `base` must be the address of the 1 MiB of the first bus of an ECAM, mapped as device memory
    /// for as long as the result is used. Nothing else uses it.
    pub unsafe fn new(base: u64) -> Option<Ecam> {
        let address = usize::try_from(base).ok()?;
        let base = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(address))?;
        address.is_multiple_of(4).then_some(Ecam { base })
    }

    fn word(&self, function: Function, offset: u8) -> UniqueMmioPointer<'_, ReadPureWrite<u32>> {
        let Function { device, function } = function;
        // PCI Express Base Specification, 7.2.2: 15 bits say which function.
        let place = usize::from(device & 31) << 15 | usize::from(function & 7) << 12;
        // SAFETY: it lies within the 1 MiB that the caller of `new` promised.
        let word = unsafe { self.base.byte_add(place | usize::from(offset & 0xfc)) };
        // SAFETY: as above; it is aligned, and the pointer makes one access.
        unsafe { UniqueMmioPointer::new(word.cast()) }
    }
}

impl ConfigSpace for Ecam {
    fn read(&self, function: Function, offset: u8) -> u32 {
        self.word(function, offset).read()
    }

    fn write(&self, function: Function, offset: u8, value: u32) {
        self.word(function, offset).write(value);
    }
}
