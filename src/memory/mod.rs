//! The layout of memory: free ranges, stacks, the address map, heap caches, backtraces.
//! Nothing here accesses the memory that it plans.

#![forbid(unsafe_code)]

use core::ops::Range;

mod backtrace;
mod heap_cache;
mod map;
mod plan;
mod stack_layout;
mod stack_pool;

pub use backtrace::{Frames, MAX_FRAMES};
pub use heap_cache::{HeapCache, MAGAZINE_BLOCKS, MAGAZINE_BYTES, SizeClass};
pub use map::{MapError, MapKind, MapRequest, tables_needed};
pub use plan::{MAX_RANGES, MemoryPlan};
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
