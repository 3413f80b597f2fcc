//! Stillpoint (map essay to be written last).
#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;

#[cfg(target_os = "none")]
pub mod arch;
pub mod config;
pub mod cpu;
pub mod fault;
pub mod memory;
pub mod platform;
pub mod sync;
pub mod time;
