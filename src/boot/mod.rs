//! The boot of the machine, from the first instruction in Rust to the first thread; and the
//! entry of every other CPU.
//!
//! The boot CPU goes through these stages:
//!
//! ```text
//!   assembly     EL1, zeroed bss, relocated, a stack           MMU off
//!   early        device tree checked and copied, memory        MMU off
//!                planned, address map built
//!   boot_cpu     MMU and caches on; heap; console; GIC,        IRQs masked
//!                timer, PSCI from the tree; kernel made
//!   boot CPU     its prep … init steps, as for any CPU
//!   idle/0       the boot stack becomes the idle thread's
//!   main_thread  sched steps of the boot CPU; the other CPUs;  a thread
//!                then the program's `main`
//! ```

mod boot_cpu;
mod cpu_list;
mod devices;
mod early;
mod main_thread;
mod secondary;

pub use early::{EarlyError, Purpose, load_device_tree};
pub(crate) use main_thread::bring_up_ticks;
