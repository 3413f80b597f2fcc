//! The race lab: what its races are made of, and how they are shown.
//!
//! A lab replays a race that people met in another kernel, on this one: first with the protocol
//! of that time, then with the one that this kernel has. The threads, stops and CPUs are real;
//! `lab_program` has them. What stands here needs none: which threads take part, what each step is called,
//! and what the steps say about the protocol.
//!
//! ```text
//!   seed ──► Cast (which CPU, which slot) ──► Line (what a thread says that it does)
//!                                               │  with the CPU on which it was said
//!                                               ▼
//!   Act: protocol, Outcome ◄── facts ──────── Record
//!    │
//!    ├──► a table, and a timeline with a line for each CPU
//!    └──► `judge`: the old protocol has failed, ours has held
//! ```
//!
//! # Invariants
//! - **steps-not-times**: a record has steps in the order in which they happened, and no times.
//!   Each step is forced to come after the one before it. So the same seed gives the same table
//!   on a machine of the same CPUs, however fast each of them is.
//! - **seen-not-said**: an outcome follows from what the threads saw. It is not written down with
//!   the protocol.

#![forbid(unsafe_code)]

mod act;
mod draw;
#[cfg(not(loom))]
mod orders;
mod record;
mod request;
#[cfg(test)]
mod tests;
mod timeline;
pub mod y2006;
pub mod y2014;
pub mod y2017;

pub use act::{Act, Outcome, Protocol, Wrong, judge};
pub use draw::Draw;
#[cfg(not(loom))]
pub use orders::{Holder, Ordered, Orders};
pub use record::{Event, Line, Record, Scene, Then};
pub use request::{Lab, Request, UsageError};
