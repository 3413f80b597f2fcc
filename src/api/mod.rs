//! The functions and types for programs. A program uses nothing of this crate but this module
//! and the macros.
//!
//! | Module | Holds |
//! |---|---|
//! | [`thread`] | threads: `spawn`, `scope`, `park`, affinity, classes |
//! | [`sync`] | locks that sleep, spin locks, guards |
//! | [`time`] | instants, timers |
//! | [`cpu`] | numbers and sets of CPUs, cross calls, per-CPU variables |
//! | [`irq`] | interrupts of devices: handlers, affinity |
//! | [`hotplug`] | bringing CPUs up and taking them down, steps that follow them |
//! | [`governor`] | what decides how many CPUs are online |
//! | [`pool`] | jobs for all CPUs that are there |
//! | [`task`] | futures: tasks of a pool, and a thread that waits for one |
//! | [`stop`] | the still point |
//! | [`static_key`] | switches that cost one instruction where they are looked at |
//! | [`module`] | values that can be unloaded while all CPUs use them |
//! | [`rcu`] | grace periods |
//! | `net` | TCP and UDP, with the feature `net` |
//! | [`mem`] | use of the heap and of the stacks |
//! | [`log`] | the kernel's log |
//! | [`random`] | random bytes |
//! | [`args`] | the program's boot arguments |
//! | [`console`] | input from the console |
//! | [`shell`] | a command line, with commands of the program's own |
//! | [`mod@panic`] | a function that a panic calls |
//!
//! # Panics
//! A function that may wait panics if it is called outside its `# Context`, even if it would
//! not have to wait. A function that allocates may not be called in the function of a still
//! point, where each allocation panics. The section `# Panics` of a function says when else it
//! panics.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/program.rs")]
//! ```

mod handle;
mod init_step;
mod macros;
mod multi_step;
mod pool_crew;
mod pool_scope;
mod rcu_box;
mod residents;
mod service;
mod step;
mod termination;

pub mod args;
pub mod console;
pub mod cpu;
pub mod governor;
pub mod hotplug;
pub mod irq;
pub mod log;
pub mod mem;
pub mod module;
#[cfg(feature = "net")]
pub mod net;
pub mod panic;
pub mod pool;
pub mod random;
pub mod rcu;
#[cfg(feature = "shell")]
pub mod shell;
pub mod static_key;
pub mod stop;
mod stop_request;
pub mod sync;
pub mod task;
#[cfg(feature = "net")]
mod tcp;
pub mod thread;
pub mod time;
#[cfg(feature = "net")]
mod udp;

pub use crate::errno::Errno;
#[doc(hidden)]
pub use crate::kernel::{Test, print, run_tests};
pub use crate::kernel::{exit, reboot};
#[cfg(feature = "shell")]
pub use crate::shell_program::run_shell;
pub use termination::{ExitStatus, Termination};

// Short names for the kernel's own tests and benches.
#[cfg(feature = "internals")]
pub use {
    crate::kernel::{HeapStats, Hw},
    cpu::{CallError, PerCpuVar, call_on, call_on_many, call_on_nowait, on_each_cpu},
    hotplug::{
        ApRefusal, CpuDownError, CpuUpError, Left, Quarantine, StepError, SyncState,
        boot_bring_up_time, cpu_down, cpu_up, cpus_read_lock,
    },
    mem::{heap_cached, heap_in_use, heap_stats, stacks_in_use},
    stop::{StopError, StopReport, stop_machine, timed_stop_machine},
    thread::{JoinHandle, sleep, spawn_on, yield_now},
    time::{deadline, frequency, now},
};
