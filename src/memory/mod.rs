//! Memory, as far as it is pure: which of it is free.

mod plan;

pub use plan::{MAX_RANGES, MemoryPlan, PlanError};
