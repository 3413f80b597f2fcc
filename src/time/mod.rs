//! Time: instants of the system counter.

#![forbid(unsafe_code)]

mod instant;
mod thousandths;

pub use instant::{Frequency, Instant};
pub(crate) use thousandths::Thousandths;
