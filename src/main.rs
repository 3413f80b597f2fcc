//! The kernel that ships: boots, brings the CPUs up, and runs the shell on the console.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(target_os = "none")]
stillpoint::entry!(main);

#[cfg(target_os = "none")]
fn main() {
    stillpoint::api::run_shell()
}

/// Does nothing: the host has no kernel to run.
#[cfg(not(target_os = "none"))]
fn main() {}
