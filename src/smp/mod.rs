//! Communication between CPUs: how an inter-processor interrupt reaches a set of CPUs
//! in the fewest register writes, and functions that run on another CPU ([`call`]).

pub mod call;
mod fan_out;

pub use fan_out::{FanOut, FanOutError, SgiWrite};
