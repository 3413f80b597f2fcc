//! Asks the MMU whether an address is mapped.

use core::arch::asm;

/// Returns whether this CPU may read `address`.
pub fn is_mapped(address: usize) -> bool {
    let result: u64;
    // SAFETY: AT translates the address and doesn't read there. Its result is in PAR_EL1, which
    // no other code uses.
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
