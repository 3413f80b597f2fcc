//! Stillpoint (map essay to be written last).
#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;

pub mod config;
pub mod cpu;
pub mod dt;
pub mod errno;
pub mod fault;
pub mod hotplug;
pub mod memory;
pub mod platform;
pub mod rcu;
pub mod sched;
pub mod shell;
pub mod smp;
pub mod stop_machine;
pub mod sync;
pub mod time;
pub mod trace;

#[cfg(target_os = "none")]
pub mod api;
#[cfg(target_os = "none")]
pub mod arch;
#[cfg(target_os = "none")]
pub mod drivers;
#[cfg(target_os = "none")]
pub mod start;
