//! The device tree: what the machine says about itself.
//!
//! A blob is handed over by a boot loader and may be anything; the `fdt` crate,
//! which reads it, trusts its input. So there are two halves with one rule
//! between them: nothing reads a blob as a tree that has not been checked whole.
//!
//! ```text
//!   raw pointer --total_size--> slice --check--> compact copy --DeviceTree--> typed values
//!                (8 bytes)              (ours, no NOPs)     (properties through `fdt`)
//! ```
//!
//! [`check()`] proves every offset, length, name and token, and writes a copy
//! that has only what it has proved. [`DeviceTree`] finds nodes in that copy
//! and decodes their properties; it trusts the form, never the content: a
//! `reg` of odd length, a cell count of 7, a bus that leads nowhere are typed
//! errors of the one method that met them.
//!
//! # Invariants
//! 1. No function here panics, whatever the bytes are.
//! 2. All loops are bounded by the size of the blob, none recurses.
//! 3. Nothing here allocates or keeps state: it runs with the MMU off, before
//!    there is a heap, and on the host.
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
    InterruptSpec, MAX_REDISTRIBUTOR_REGIONS, PhysRange, PsciBinding, PsciDesc, Redistributors,
    Text, TextFlaw, TimerDesc,
};

/// How deep nodes may nest, the root counted. Real trees stay below ten; `fdt`
/// keeps a stack of 64.
pub const MAX_DEPTH: usize = 32;
