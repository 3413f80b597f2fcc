//! The device tree: the boot loader's description of the machine.
//!
//! A boot loader hands over a blob, which may hold any bytes. The `fdt` crate, which
//! reads it, trusts its input. So this module has two halves with one rule between them:
//! a blob is read as a tree only after all of it has been checked.
//!
//! ```text
//!   raw pointer --total_size--> slice --check--> compact copy --DeviceTree--> typed values
//!                (8 bytes)              (ours, no NOPs)     (properties through `fdt`)
//! ```
//!
//! [`check()`] checks every offset, length, name and token, and writes a copy of the
//! parts that it has checked. [`DeviceTree`] finds nodes in that copy and decodes their
//! properties. It trusts the form of the copy, but never the content: a `reg` of odd
//! length, a cell count of 7, or a bus without a way to the CPU is a typed error of the
//! method that reads it.
//!
//! No function here panics, whatever the bytes are. Every loop is bounded by the size of
//! the blob, and no function recurses. Nothing here allocates or keeps state, so it runs
//! with the MMU off, before there is a heap, and on the host.
//!
//! # Sources
//! Devicetree Specification 0.4: chapter 5 (the flattened format), 2.3
//! (standard properties), 3 (required nodes). The bindings of the Linux kernel
//! (`Documentation/devicetree/bindings`) for GIC, timer, PSCI, CPUs and UARTs.
#![forbid(unsafe_code)]

mod check;
mod error;
mod header;
mod token;
mod view;

pub use check::check;
pub use error::{Block, DtError, NodeKind};
pub use header::{MAX_SIZE, total_size};
pub use view::{
    BoardPower, ConsoleDesc, ConsoleKind, CpuDesc, CpuStatus, DeviceTree, EnableMethod, GicDesc,
    InterruptSpec, MAX_REDISTRIBUTOR_REGIONS, PciHostDesc, PhysRange, PowerKeyDesc, PsciBinding,
    PsciDesc, Redistributors, Text, TextFlaw, TimerDesc, VirtioMmioDesc,
};

/// How deep nodes may nest, including the root. Real trees stay below ten; `fdt`
/// keeps a stack of 64 nodes.
pub const MAX_DEPTH: usize = 32;
