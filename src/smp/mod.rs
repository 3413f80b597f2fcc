//! What CPUs say to each other: which of them an inter-processor interrupt reaches, and
//! in how few register writes; functions that run on another CPU ([`call`]); how a CPU
//! is parked and released; how it comes to its caches.

pub mod boot;
pub mod call;
mod fan_out;
pub mod life;
pub mod pen;
pub mod steps;

pub use fan_out::{FanOut, FanOutError, SgiWrite};
