//! What is where in memory, as far as it can be decided without touching any.

#![forbid(unsafe_code)]

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
