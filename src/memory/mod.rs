//! What is where in memory, as far as it can be decided without touching any.

#![forbid(unsafe_code)]

use core::ops::Range;

mod backtrace;
mod heap_cache;
mod map;
mod plan;
mod stack_pool;

pub use backtrace::{Frames, MAX_FRAMES};
pub use heap_cache::{HeapCache, MAGAZINE_BLOCKS, MAGAZINE_BYTES, SizeClass};
pub use map::{MapError, MapKind, MapRequest, tables_needed};
pub use plan::{MAX_RANGES, MemoryPlan};
pub use stack_pool::{Stack, StackLayout, StackPart, StackPlace, StackPool};

/// Returns a physical range as addresses: the two are 64 bits alike, and VA = PA.
///
/// # Panics
/// If one of its ends is beyond `usize`: where addresses have 64 bits none is.
pub fn bytes(range: &Range<u64>) -> Range<usize> {
    let address = |value: u64| usize::try_from(value).expect("BUG: addresses are 64 bits");
    address(range.start)..address(range.end)
}
