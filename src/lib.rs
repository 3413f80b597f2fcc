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
//!            config, errno, escape, fault, symbols   numbers, names, decoders
//!                  sync                    atomics, spin locks, WaitPoint
//!                  cpu                     numbers, masks, per-CPU data
//!        platform, time, trace             the machine's contract; instants; rings
//!         device, coherency                what goes into which register; CPUs whose caches are off
//!    memory, dt, bootargs, sched           memory plan; device tree; command line; threads, timers,
//!                                          sleeping locks
//!                  smp                     cross calls; SGIs in few writes
//!                  rcu                     grace periods by SGI, and callbacks
//!              stop_machine                stoppers and the still point
//!                hotplug                   the state table and the walks
//!                 shell                    commands, over a small trait
//!   ─────────────────────────────────────────────────────────────────────────
//!                 kernel                   the one kernel: `Hw`, heap, console, panic
//!                  boot                    from the first instruction to the first thread
//!             shell_program                the shell on the console
//!                  api                     what programs call
//!   ─────────────────────────────────────────────────────────────────────────
//!            arch, drivers                 implement `platform`
//! ```
//!
//! A module names modules above it in this picture, never below; only `kernel`
//! and `boot` name `arch` and `drivers`. Everything above the first line is *pure*: no
//! statics, no assembly, generic over [`platform::Platform`], the same program
//! on the host as on the target. That is how the protocols that ship are
//! unit-tested, property-tested and (under `--cfg loom`) model-checked.
//! `tests/host_layering.rs` holds the source to this.
//!
//! # A boot
//!
//! Assembly brings the CPU to EL1 with everything in a known state and relocates
//! the Image. `boot::early` checks the device tree whole and turns the MMU on.
//! `boot::machine` makes the kernel from what the tree says and brings the boot
//! CPU through its steps, as any CPU. The first thread brings up the others and
//! then runs the program: the function named by `entry!`, which in the
//! shipped kernel is the shell.
//!
//! # Where to read on
//!
//! [`hotplug`] and its table; [`stop_machine`]; [`sync::WaitPoint`], on which
//! both wait; [`sched`] for how a thread waits.
//!
//! `docs/architecture.md` has the one table of the order of locks, the tower of traits, and
//! the lives of a CPU and of a stop; `docs/glossary.md` the words; `docs/races.md` the races
//! that are ruled out; `docs/caveats.md` what is not promised; `docs/references.md` the
//! documents that comments cite. `CONTRIBUTING.md` says how to add something.
//!
//! | Build | `arch`, `drivers`, `kernel` and above | atomics |
//! |---|---|---|
//! | target (`target_os = "none"`) | yes | core's |
//! | host, tests | no | core's |
//! | host, `--cfg loom` | no | loom's |
//!
//! # What programs may use
//!
//! `api` and the macros, and nothing else: what a module of the kernel has for programs
//! has its address there. Safe code that uses nothing else can't cause undefined
//! behaviour, and panics only as a `# Panics` section says, or where it calls something
//! outside its `# Context`. All else is public with the feature `internals` alone, for
//! tests, benches and the fuzzer: it promises neither.
//! `tests/host_compile_fail.rs` holds the line.
#![cfg_attr(not(any(test, loom)), no_std)]
// Without the feature much that is `pub` for tests can be reached by nothing, and is not
// used. With it the lints hold: clippy sees both builds.
#![cfg_attr(
    not(feature = "internals"),
    allow(dead_code, unreachable_pub, unused_imports)
)]

extern crate alloc;

/// Makes names public with the feature `internals`, and the crate's own without it.
macro_rules! internal {
    ($($path:tt)+) => {
        #[cfg(feature = "internals")]
        pub use $($path)+;
        #[cfg(not(feature = "internals"))]
        pub(crate) use $($path)+;
    };
}

#[cfg(target_os = "none")]
pub mod api;

// Written out, one pair a module: a macro would hide the files from rustfmt.
#[cfg(feature = "internals")]
pub mod bootargs;
#[cfg(not(feature = "internals"))]
mod bootargs;
#[cfg(feature = "internals")]
pub mod coherency;
#[cfg(not(feature = "internals"))]
mod coherency;
#[cfg(feature = "internals")]
pub mod config;
#[cfg(not(feature = "internals"))]
mod config;
#[cfg(feature = "internals")]
pub mod cpu;
#[cfg(not(feature = "internals"))]
mod cpu;
#[cfg(feature = "internals")]
pub mod device;
#[cfg(not(feature = "internals"))]
mod device;
#[cfg(feature = "internals")]
pub mod dt;
#[cfg(not(feature = "internals"))]
mod dt;
#[cfg(feature = "internals")]
pub mod errno;
#[cfg(not(feature = "internals"))]
mod errno;
#[cfg(feature = "internals")]
pub mod escape;
#[cfg(not(feature = "internals"))]
mod escape;
#[cfg(feature = "internals")]
pub mod fault;
#[cfg(not(feature = "internals"))]
mod fault;
#[cfg(feature = "internals")]
pub mod hotplug;
#[cfg(not(feature = "internals"))]
mod hotplug;
#[cfg(feature = "internals")]
pub mod memory;
#[cfg(not(feature = "internals"))]
mod memory;
#[cfg(feature = "internals")]
pub mod platform;
#[cfg(not(feature = "internals"))]
mod platform;
#[cfg(feature = "internals")]
pub mod rcu;
#[cfg(not(feature = "internals"))]
mod rcu;
#[cfg(feature = "internals")]
pub mod sched;
#[cfg(not(feature = "internals"))]
mod sched;
#[cfg(feature = "internals")]
pub mod shell;
#[cfg(not(feature = "internals"))]
mod shell;
#[cfg(feature = "internals")]
pub mod smp;
#[cfg(not(feature = "internals"))]
mod smp;
#[cfg(feature = "internals")]
pub mod stop_machine;
#[cfg(not(feature = "internals"))]
mod stop_machine;
#[cfg(feature = "internals")]
pub mod symbols;
#[cfg(not(feature = "internals"))]
mod symbols;
#[cfg(feature = "internals")]
pub mod sync;
#[cfg(not(feature = "internals"))]
mod sync;
#[cfg(feature = "internals")]
pub mod time;
#[cfg(not(feature = "internals"))]
mod time;
#[cfg(feature = "internals")]
pub mod trace;
#[cfg(not(feature = "internals"))]
mod trace;

#[cfg(all(feature = "internals", target_os = "none"))]
pub mod arch;
#[cfg(all(not(feature = "internals"), target_os = "none"))]
mod arch;
#[cfg(all(feature = "internals", target_os = "none"))]
pub mod boot;
#[cfg(all(not(feature = "internals"), target_os = "none"))]
mod boot;
#[cfg(all(feature = "internals", target_os = "none"))]
pub mod drivers;
#[cfg(all(not(feature = "internals"), target_os = "none"))]
mod drivers;
#[cfg(all(feature = "internals", target_os = "none"))]
pub mod kernel;
#[cfg(all(not(feature = "internals"), target_os = "none"))]
mod kernel;
#[cfg(all(feature = "internals", target_os = "none"))]
pub mod shell_program;
#[cfg(all(not(feature = "internals"), target_os = "none"))]
mod shell_program;

#[cfg(test)]
#[path = "../tests/support/xorshift.rs"]
mod xorshift;
