//! An aarch64 unikernel whose CPUs come and go while it runs.
//!
//! It brings CPUs up and takes them down again through one table of symmetric
//! steps, and it can bring the whole machine to a *still point*: every online
//! CPU inside its stopper with interrupts off, while one of them runs a function
//! and nothing else moves.
//!
//! # The map
//!
//! ```text
//!            config, errno, fault, symbols     numbers, names, decoders
//!                  sync                    atomics, spin locks, WaitPoint
//!                  cpu                     numbers, masks, per-CPU data
//!        platform, time, trace             the machine's contract; instants; rings
//!           device                         what goes into which register
//!        memory, dt, sched                 memory plan; device tree; threads, timers, sleeping locks
//!                  smp                     cross calls; SGIs in few writes; CPUs whose caches are off
//!                  rcu                     grace periods by SGI, and callbacks
//!              stop_machine                stoppers and the still point
//!                hotplug                   the state table and the walks
//!                 shell                    commands, over a small trait
//!   ─────────────────────────────────────────────────────────────────────────
//!                 start, api               the one kernel; what programs call
//!   ─────────────────────────────────────────────────────────────────────────
//!            arch, drivers                 implement `platform`
//! ```
//!
//! A module names modules above it in this picture, never below; only `start`
//! names `arch` and `drivers`. Everything above the first line is *pure*: no
//! statics, no assembly, generic over [`platform::Platform`], the same program
//! on the host as on the target. That is how the protocols that ship are
//! unit-tested, property-tested and (under `--cfg loom`) model-checked.
//! `tests/host_layering.rs` holds the source to this.
//!
//! # A boot
//!
//! Assembly brings the CPU to EL1 with everything in a known state and relocates
//! the Image. `start::early` checks the device tree whole and turns the MMU on.
//! `start::boot` makes the kernel from what the tree says and brings the boot
//! CPU through its steps, as any CPU. The first thread brings up the others and
//! then runs the program: the function named by `entry!`, which in the
//! shipped kernel is the shell.
//!
//! # Where to read on
//!
//! [`hotplug`] and its table; [`stop_machine`]; [`sync::WaitPoint`], on which
//! both wait; [`sched`] for how a thread waits.
//!
//! | Build | `arch`, `drivers`, `start`, `api` | atomics |
//! |---|---|---|
//! | target (`target_os = "none"`) | yes | core's |
//! | host, tests | no | core's |
//! | host, `--cfg loom` | no | loom's |
#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;

pub mod config;
pub mod cpu;
pub mod device;
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
pub mod symbols;
pub mod sync;
pub mod time;
pub mod trace;

#[cfg(test)]
#[path = "../tests/support/xorshift.rs"]
mod xorshift;

#[cfg(target_os = "none")]
pub mod api;
#[cfg(target_os = "none")]
pub mod arch;
#[cfg(target_os = "none")]
pub mod drivers;
#[cfg(target_os = "none")]
pub mod start;
