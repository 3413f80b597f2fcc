//! What CPUs say to each other: who is reached by an inter-processor interrupt,
//! and in how few register writes; how one is parked and released.

#![forbid(unsafe_code)]

mod fan_out;
pub mod pen;

pub use fan_out::{FanOut, FanOutError, SgiWrite};
