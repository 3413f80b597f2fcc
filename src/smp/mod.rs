//! What CPUs say to each other: who is reached by an inter-processor interrupt,
//! and in how few register writes.

#![forbid(unsafe_code)]

mod fan_out;

pub use fan_out::{FanOut, FanOutError, SgiWrite};
