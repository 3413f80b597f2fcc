//! The layout of memory: free ranges, stacks, the address map, backtraces; and the heap's free
//! blocks in CPUs' caches and depots.
//! Nothing here accesses the memory that it plans.

#![forbid(unsafe_code)]

use core::ops::Range;

mod backtrace;
mod chain;
mod depots;
mod heap_cache;
mod heap_supply;
mod map;
mod plan;
mod size_class;
mod stack_layout;
mod stack_pool;

pub use backtrace::{Frames, MAX_FRAMES};
pub use chain::{Chain, FreeBlock, Links, WholeChain};
pub use depots::{
    CHAINS_PER_CPU, CPUS_PER_GROUP, DEPOT_BYTES, Depots, Draining, Place, group_members,
};
pub use heap_cache::HeapCache;
pub use heap_supply::{BlockAllocator, HeapSupply, SharedHeap};
pub use map::{MapError, MapKind, MapRequest, joined, tables_needed};
pub use plan::{MAX_RANGES, MemoryPlan};
pub use size_class::{MAGAZINE_BLOCKS, MAGAZINE_BYTES, SizeClass};
pub use stack_layout::{StackLayout, StackPart, StackPlace};
pub use stack_pool::{Stack, StackPool};

/// Returns a range of physical addresses as virtual addresses: both have 64 bits, and
/// VA = PA.
///
/// # Panics
/// If an end of the range doesn't fit `usize`, which can't be where addresses have 64
/// bits.
pub fn bytes(range: &Range<u64>) -> Range<usize> {
    let address = |value: u64| usize::try_from(value).expect("BUG: addresses are 64 bits");
    address(range.start)..address(range.end)
}
