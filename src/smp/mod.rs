//! What CPUs say to each other: who is reached by an inter-processor interrupt, and
//! in how few register writes; how one is parked and released; how one comes to its
//! caches.

#![forbid(unsafe_code)]

pub mod boot;
mod fan_out;
pub mod pen;
pub mod steps;

pub use fan_out::{FanOut, FanOutError, SgiWrite};
