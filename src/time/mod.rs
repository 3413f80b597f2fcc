//! Time: instants of the system counter, and the queue of what waits for one.

#![forbid(unsafe_code)]

mod instant;
mod timer_queue;

pub use instant::{Frequency, Instant};
pub use timer_queue::{TimerKey, TimerQueue};
