//! An aarch64 unikernel whose CPUs come and go while it runs.
//!
//! Stillpoint brings CPUs up and takes them down again through one table of symmetric
//! steps. It can also bring the whole machine to a *still point*: every online CPU is
//! inside its stopper with interrupts off, and one of them runs a function while nothing
//! else moves.
//!
//! # The map
//!
//! ```text
//!            config, errno, escape, fault, symbols   numbers, names, decoders
//!                  sync                    atomics, spin locks, WaitPoint
//!                  cpu                     numbers, masks, per-CPU data
//!        platform, time, trace             traits of the machine; instants; trace rings
//!     device, coherency, virtio            register values; protocols of CPUs with caches off, and
//!                                          of devices with queues
//!                  net                     sockets over smoltcp, for any port that carries frames
//!                 patch                    code that is changed while it runs
//!    memory, dt, bootargs, sched           memory plan; device tree; command line; threads, timers,
//!                                          sleeping locks
//!                  smp                     cross calls; SGIs in few writes
//!                  rcu                     grace periods by SGI, and callbacks
//!                  irq                     interrupts of devices: handlers, affinity, moves
//!              stop_machine                stoppers and the still point
//!                 module                   references to what may be unloaded
//!                hotplug                   the state table and the walks
//!             pool, governor               jobs, and the workers that take them; how many CPUs
//!                                          are online
//!              shell, lab                  commands, over a small trait; races that are replayed
//!   ─────────────────────────────────────────────────────────────────────────
//!                 kernel                   the one kernel: `Hw`, heap, console, panic
//!                  boot                    from the first instruction to the first thread
//!             shell_program                the shell on the console
//!                  api                     what programs call
//!              lab_program                 the race lab, a program over api
//!   ─────────────────────────────────────────────────────────────────────────
//!            arch, drivers                 implement `platform`
//! ```
//!
//! A module imports only modules above it in this picture; only `kernel` and `boot` import
//! `arch` and `drivers`. Everything above the first line is *pure*: it has no statics and
//! no assembly, is generic over `platform::Platform`, and is the same code on the host
//! and on the target. So tests on the host unit-test, property-test and (under
//! `--cfg loom`) model-check the protocols that ship. `tests/host_layering.rs` checks
//! these rules.
//!
//! # A boot
//!
//! Assembly brings the CPU to EL1 with every register in a known state and relocates the
//! Image. `boot::early` checks the whole device tree and turns the MMU on. `boot::boot_cpu`
//! makes the kernel for the machine that the tree describes, and brings the boot CPU
//! through its steps, as any CPU. The first thread brings up the other CPUs and then runs
//! the program: the function with the attribute `main`, or that `entry!` names. In the kernel
//! that ships it is the shell.
//!
//! # Where to read on
//!
//! `hotplug` and its table; `stop_machine`; `sync::WaitPoint`, on which
//! both wait; `sched` for how a thread waits.
//!
//! `docs/architecture.md` has the table of the lock order, a picture of the traits, and the
//! lives of a CPU and of a stop. `docs/glossary.md` explains the words, `docs/races.md` lists
//! the races that the code rules out, `docs/caveats.md` what is not promised, and
//! `docs/references.md` the documents that comments cite. `CONTRIBUTING.md` says how to add a
//! step, a driver, a test kernel or a command.
//!
//! | Build | `arch`, `drivers`, `kernel` and above | atomics |
//! |---|---|---|
//! | target (`target_os = "none"`) | yes | core's |
//! | host, a program that is checked | yes, with a panic for each instruction | core's |
//! | host, tests | no | core's |
//! | host, `--cfg loom` | no | loom's |
//!
//! # Features
//!
//! `docs/applications.md` says how a program is made, and which features leave what out of it.
//!
//! # What programs may use
//!
//! Programs may use only `api`, the macros and the command `LAB`; everything that a module of the
//! kernel offers to programs is there. Safe code that uses nothing else can't cause undefined behaviour.
//! It panics only as a `# Panics` section says, or if it calls a function outside its
//! `# Context`. Everything else is public only with the feature `internals`, for tests,
//! benches and the fuzzer, and promises neither. `tests/host_compile_fail.rs` checks that
//! programs can't reach it.
#![cfg_attr(not(any(test, loom)), no_std)]
// Without the feature, items that are `pub` only for tests are unused. With it the lints
// apply to them: clippy checks both builds.
#![cfg_attr(
    not(feature = "internals"),
    allow(dead_code, unreachable_pub, unused_imports)
)]
// On a host a program is only checked: nothing is called there, and behind what stands for an
// instruction nothing is reached.
#![cfg_attr(
    all(machine, not(target_os = "none")),
    allow(unused, unused_unsafe, unreachable_code, clippy::all)
)]

extern crate alloc;

/// Re-exports names: `pub` with the feature `internals`, and `pub(crate)` without it.
macro_rules! internal {
    ($($path:tt)+) => {
        #[cfg(feature = "internals")]
        pub use $($path)+;
        #[cfg(not(feature = "internals"))]
        pub(crate) use $($path)+;
    };
}

#[cfg(machine)]
pub mod api;

#[cfg(all(feature = "shell", machine))]
pub use lab_program::LAB;
pub use stillpoint_macros::{main, test};

// Each pair is written out, because a macro would hide the modules' files from rustfmt.
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
pub mod governor;
#[cfg(not(feature = "internals"))]
mod governor;
#[cfg(feature = "internals")]
pub mod hotplug;
#[cfg(not(feature = "internals"))]
mod hotplug;
#[cfg(feature = "internals")]
pub mod irq;
#[cfg(not(feature = "internals"))]
mod irq;
#[cfg(all(feature = "internals", feature = "shell"))]
pub mod lab;
#[cfg(all(not(feature = "internals"), feature = "shell"))]
mod lab;
#[cfg(feature = "internals")]
pub mod memory;
#[cfg(not(feature = "internals"))]
mod memory;
#[cfg(feature = "internals")]
pub mod module;
#[cfg(not(feature = "internals"))]
mod module;
#[cfg(all(feature = "internals", feature = "net", not(loom)))]
pub mod net;
#[cfg(all(not(feature = "internals"), feature = "net", not(loom)))]
mod net;
#[cfg(feature = "internals")]
pub mod patch;
#[cfg(not(feature = "internals"))]
mod patch;
#[cfg(feature = "internals")]
pub mod platform;
#[cfg(not(feature = "internals"))]
mod platform;
#[cfg(feature = "internals")]
pub mod pool;
#[cfg(not(feature = "internals"))]
mod pool;
#[cfg(feature = "internals")]
pub mod rcu;
#[cfg(not(feature = "internals"))]
mod rcu;
#[cfg(feature = "internals")]
pub mod sched;
#[cfg(not(feature = "internals"))]
mod sched;
#[cfg(all(feature = "internals", feature = "shell"))]
pub mod shell;
#[cfg(all(not(feature = "internals"), feature = "shell"))]
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
#[cfg(all(feature = "internals", feature = "virtio", not(loom)))]
pub mod virtio;
#[cfg(all(not(feature = "internals"), feature = "virtio", not(loom)))]
mod virtio;

#[cfg(all(feature = "internals", machine))]
pub mod arch;
#[cfg(all(not(feature = "internals"), machine))]
mod arch;
#[cfg(all(feature = "internals", machine))]
pub mod boot;
#[cfg(all(not(feature = "internals"), machine))]
mod boot;
#[cfg(all(feature = "internals", machine))]
pub mod drivers;
#[cfg(all(not(feature = "internals"), machine))]
mod drivers;
#[cfg(all(feature = "internals", machine))]
pub mod kernel;
#[cfg(all(not(feature = "internals"), machine))]
mod kernel;
#[cfg(all(feature = "internals", feature = "shell", machine))]
pub mod lab_program;
#[cfg(all(not(feature = "internals"), feature = "shell", machine))]
mod lab_program;
#[cfg(all(feature = "internals", feature = "shell", machine))]
pub mod shell_program;
#[cfg(all(not(feature = "internals"), feature = "shell", machine))]
mod shell_program;

#[cfg(test)]
#[path = "../tests/support/xorshift.rs"]
mod xorshift;
