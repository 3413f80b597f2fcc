//! Time: instants of the system counter.

#![forbid(unsafe_code)]

mod instant;

pub use instant::{Frequency, Instant};
