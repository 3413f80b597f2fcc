//! Device trees on the host: QEMU's own, one of ours, broken ones.
//!
//! Trees are kept as sources in `dts/` and compiled here, so `dtc` is needed.
#![allow(clippy::unwrap_used)] // A test's panic is its verdict.

#[path = "host_dt/blobs.rs"]
mod blobs;
#[path = "host_dt/broken.rs"]
mod broken;
#[path = "host_dt/trees.rs"]
mod trees;
