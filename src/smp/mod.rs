//! What CPUs say to each other: which of them an inter-processor interrupt reaches, and
//! in how few register writes; functions that run on another CPU ([`call`]).

pub mod call;
mod fan_out;

pub use fan_out::{FanOut, FanOutError, SgiWrite};
