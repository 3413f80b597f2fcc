//! The kernel that ships: boots, brings the CPUs up, and runs the shell on the console.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(target_os = "none")]
stillpoint::entry!(main);

/// The commands beside the shell's own.
#[cfg(target_os = "none")]
static COMMANDS: [stillpoint::api::shell::ShellCommand; 1] = [stillpoint::LAB];

#[cfg(target_os = "none")]
fn main() {
    stillpoint::api::shell::run(&COMMANDS)
}

/// Does nothing: the host has no kernel to run.
#[cfg(not(target_os = "none"))]
fn main() {}
