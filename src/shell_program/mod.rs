//! The shell as a program: runs [`crate::shell`] on the kernel's console.
//!
//! The kernel that ships runs it. A kernel whose `main` doesn't call [`run_shell`] contains
//! none of it.

mod machine;
mod run;
mod selftest;

pub use machine::KernelMachine;
pub use run::run_shell;
