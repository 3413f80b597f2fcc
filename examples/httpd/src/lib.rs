//! What of the service runs on a host, too: HTTP, the resources, the life of a connection.
//!
//! ```text
//!   main (only on the machine): sockets, CPUs, governor, clock
//!     │ implements Stream and Machine
//!   serve ── a connection, from its first byte to its last
//!     ├── http ── bytes to requests, answers to bytes
//!     └── site ── the resources, and what they count
//! ```
//!
//! Nothing here has a socket or a clock, so that a test is the client, the machine and the time.
#![no_std]

extern crate alloc;

pub mod http;
mod machine;
mod serve;
pub mod site;

pub use machine::{Change, CpuTimes, Governor, Machine, Stays, Walk};
pub use serve::{End, IoError, Stream, serve};
