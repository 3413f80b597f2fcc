//! A command line on the console, with commands of the program's own.
//!
//! The shell has Linux's commands for CPUs, threads and the machine, and what shows the hotplug
//! and the still point at work: docs/shell.md lists them. A program adds rows to their table.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/shell.rs")]
//! ```

use crate::shell_program::run_shell_with;

pub use crate::shell::{Call, CommandError, ShellCommand};

/// Runs the commands of the boot argument `init=`, then a shell on the console that has `commands`
/// beside its own. Never returns: see [`run_shell`](crate::api::run_shell), which has no others.
///
/// # Context
/// Thread, preemption on.
///
/// # Panics
/// If two commands have the same name.
pub fn run(commands: &'static [ShellCommand]) -> ! {
    run_shell_with(commands)
}
