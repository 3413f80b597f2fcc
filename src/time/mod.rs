//! Time: instants of the system counter, and the queue of what waits for one.

mod instant;

pub use instant::{Frequency, Instant};
