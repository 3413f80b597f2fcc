//! The program that README.md and the documentation of `stillpoint::api` show, as it
//! stands there (`tests/host_docs.rs` compares them).
//!
//! SMP: 4
//! PLAN: none
//! OUTPUT: ^42$
//! OUTPUT: ^nothing else moves$
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "qemu_readme/program.rs"]
mod program;

#[cfg(not(target_os = "none"))]
fn main() {}
