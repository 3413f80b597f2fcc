//! Figures of the heap and of the stacks. `alloc`'s types take from the heap.

use crate::cpu::CpuId;

pub use crate::kernel::HeapStats;

/// Bytes of heap that are in use, by all CPUs: asked for and not given back. Exact
/// if no thread allocates or frees meanwhile.
pub fn heap_in_use() -> usize {
    crate::kernel::heap_in_use()
}

/// Where the memory of the heap is, in bytes.
pub fn heap_stats() -> HeapStats {
    crate::kernel::heap_stats()
}

/// Bytes of free heap that `cpu` keeps for itself: none while it is off, or if the machine
/// hasn't that CPU.
pub fn heap_cached(cpu: CpuId) -> usize {
    crate::kernel::heap_cached(cpu)
}

/// Stacks that are in use.
pub fn stacks_in_use() -> usize {
    crate::kernel::stacks_in_use()
}
