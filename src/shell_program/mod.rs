//! The shell as a program: runs [`crate::shell`] on the kernel's console.
//!
//! The kernel that ships runs it. A kernel whose `main` doesn't call [`run_shell`] contains
//! none of it.
//!
//! It isn't a program over `api` alone. `lscpu` and `states` show the state and the health
//! of each CPU and the steps of the table, `stop` counts SGIs, `trace` prints the rings,
//! and `selftest` sends SGIs itself. `api` has none of these: it would promise the inner
//! shape of the kernel to every program.

mod interrupts;
mod kernel_machine;
mod run;
mod selftest;
mod threads;

pub use kernel_machine::KernelMachine;
pub use run::{run_shell, run_shell_with};
