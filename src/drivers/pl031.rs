//! A PL031, Arm's clock with the time of day.
//!
//! # Sources
//! Arm PrimeCell Real Time Clock (PL031) Technical Reference Manual, 3.3.1.

use core::ptr::{self, NonNull};

use safe_mmio::UniqueMmioPointer;
use safe_mmio::fields::ReadPure;

/// Returns the seconds since 1970 that the clock at `base` shows; `None` if there can't be one at
/// this address.
///
/// # Safety
/// `base` must be the address of a PL031's registers, mapped as device memory.
pub unsafe fn read(base: u64) -> Option<u32> {
    let address = usize::try_from(base).ok()?;
    let data = NonNull::new(ptr::with_exposed_provenance_mut::<ReadPure<u32>>(address))?;
    if !data.is_aligned() {
        return None;
    }
    // SAFETY: the caller's promise. Reading it has no effect.
    Some(unsafe { UniqueMmioPointer::new(data) }.read())
}
