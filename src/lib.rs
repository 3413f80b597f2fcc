//! Stillpoint (map essay to be written last).
#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;

pub mod config;
pub mod cpu;
#[cfg(target_os = "none")]
pub mod drivers;
pub mod platform;
pub mod smp;
pub mod sync;
pub mod time;
