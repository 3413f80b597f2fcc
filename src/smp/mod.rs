//! What CPUs say to each other: who is reached by an inter-processor interrupt, and
//! in how few register writes; functions that run on another CPU ([`call`]); how one is parked and released; how one comes to its
//! caches.

pub mod boot;
pub mod call;
mod fan_out;
pub mod pen;
pub mod steps;

pub use fan_out::{FanOut, FanOutError, SgiWrite};
