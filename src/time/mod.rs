//! Time: instants of the system counter, and limits of waits.

#![forbid(unsafe_code)]

mod instant;
mod thousandths;
mod wait_limit;

pub use instant::{Frequency, Instant};
pub(crate) use thousandths::Thousandths;
pub use wait_limit::WaitLimit;
