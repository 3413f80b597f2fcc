//! The kernel: boots, brings the CPUs up, and gives a shell.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(target_os = "none")]
stillpoint::entry!(main);

#[cfg(target_os = "none")]
fn main() {
    stillpoint::api::run_shell()
}

/// On the host there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {}
