//! The use of the heap, from which `alloc`'s types allocate, and of the stacks.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/memory.rs")]
//! ```

use crate::cpu::CpuId;
use crate::kernel::entry::enter;

pub use crate::kernel::HeapStats;

/// Returns how many bytes of the heap are allocated. The number is exact if no thread
/// allocates or frees meanwhile.
///
/// # Context
/// Any.
pub fn heap_in_use() -> usize {
    let _in_kernel = enter();
    crate::kernel::heap_in_use()
}

/// Returns how the memory of the heap is used.
///
/// # Context
/// Any.
pub fn heap_stats() -> HeapStats {
    let _in_kernel = enter();
    crate::kernel::heap_stats()
}

/// Returns how many free bytes of the heap are in the cache of `cpu`: 0 while the CPU is off,
/// and 0 if it isn't possible.
///
/// # Context
/// Any.
pub fn heap_cached(cpu: CpuId) -> usize {
    let _in_kernel = enter();
    crate::kernel::heap_cached(cpu)
}

/// Returns how many stacks are in use.
///
/// # Context
/// Any.
pub fn stacks_in_use() -> usize {
    let _in_kernel = enter();
    crate::kernel::stacks_in_use()
}
