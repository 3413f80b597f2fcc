//! Whether an address is mapped, as the MMU sees it.

use core::arch::asm;

/// Whether this CPU may read `address`.
pub fn is_mapped(address: usize) -> bool {
    let result: u64;
    // SAFETY: AT asks for a translation and reads nothing; what it found is in
    // PAR_EL1, which nothing else here uses.
    unsafe {
        asm!(
            "at s1e1r, {address}",
            "isb",
            "mrs {result}, par_el1",
            address = in(reg) address,
            result = out(reg) result,
            options(nostack, preserves_flags)
        );
    }
    // PAR_EL1.F: the translation has failed.
    result & 1 == 0
}
