//! From the first instruction of Rust to the first thread, and from a secondary CPU's
//! first to its idle thread.
//!
//! The order of boot:
//!
//! ```text
//!   assembly     EL1, zeroed bss, relocated, a stack           MMU off
//!   early        device tree checked and copied, memory        MMU off
//!                planned, address map built
//!   machine      MMU and caches on; heap; console; GIC,        IRQs masked
//!                timer, PSCI from the tree; kernel made
//!   boot CPU     prep … init steps, as any CPU's
//!   idle/0       from here on this stack is idle's
//!   main_thread  sched steps of the boot CPU; the other CPUs;  a thread
//!                then the program's own `main`
//! ```

mod cpu_list;
mod devices;
mod early;
mod machine;
mod main_thread;
mod secondary;

pub use early::{EarlyError, Purpose, load_device_tree};
pub(crate) use main_thread::bring_up_ticks;
