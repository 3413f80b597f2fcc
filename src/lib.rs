//! Stillpoint (map essay to be written last).
#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;

pub mod config;
pub mod cpu;
pub mod platform;
pub mod shell;
pub mod sync;
pub mod time;
