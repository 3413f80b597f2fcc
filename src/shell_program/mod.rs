//! The shell as a program: it puts [`crate::shell`] on the kernel's console.
//!
//! The shipped kernel runs it; a kernel whose `main` doesn't call [`run_shell`] links
//! none of it.

mod machine;
mod run;
mod selftest;

pub use machine::KernelMachine;
pub use run::run_shell;
