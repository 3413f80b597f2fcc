//! Device trees on the host: those of QEMU, those of `dts/`, and broken ones.
//!
//! Trees are kept as sources in `dts/` and compiled here, and QEMU is asked for
//! its own, so `dtc` and `qemu-system-aarch64` are needed.
#![allow(clippy::unwrap_used)] // A test's panic is its verdict.

#[path = "host_dt/blobs.rs"]
mod blobs;
#[path = "host_dt/boards.rs"]
mod boards;
#[path = "host_dt/broken.rs"]
mod broken;
#[path = "host_dt/consoles.rs"]
mod consoles;
#[path = "host_dt/devices.rs"]
mod devices;
#[path = "support/dt_view.rs"]
mod dt_view;
#[path = "host_dt/items.rs"]
mod items;
#[path = "host_dt/mutants.rs"]
mod mutants;
#[path = "host_dt/mutate.rs"]
mod mutate;
#[path = "host_dt/trees.rs"]
mod trees;
#[path = "support/xorshift.rs"]
mod xorshift;
