//! Where everything meets: the statics, the order of boot, and the one `Hw`
//! that implements the platform traits from the drivers.
//!
//! This is the only module that names `arch` and `drivers`, and the only one
//! with statics. Order of boot:
//!
//! ```text
//!   assembly     EL1, zeroed bss, relocated, a stack           MMU off
//!   early        device tree checked and copied, memory        MMU off
//!                planned, address map built
//!   boot         MMU and caches on; heap; console; GIC,        IRQs masked
//!                timer, PSCI from the tree; kernel made
//!   boot CPU     prep … init steps, as any CPU's
//!   idle/0       from here on this stack is idle's
//!   main         sched steps of the boot CPU; the other CPUs;  a thread
//!                then the program's own `main`
//! ```

mod areas;
mod boot;
mod console;
mod cpu_list;
mod cpu_power;
mod early;
mod exit;
mod heap;
mod hw;
mod hw_hotplug;
mod interrupts;
mod kernel;
#[cfg(debug_assertions)]
mod lockdep;
mod machine;
mod panic;
mod per_cpu;
mod secondary;
mod selftest;
mod session;
mod walks;
mod whereabouts;

pub use areas::HwThread;
pub use console::{print, with_console_taken};
pub use early::{EarlyError, Purpose, load_device_tree};
pub use exit::{exit, reboot};
pub use heap::HeapStats;
pub use hw::Hw;
pub use kernel::{InterruptCounts, Kernel, LastCall, LastCallBy, TEST_SGI, kernel};
pub use machine::KernelMachine;
pub use per_cpu::PerCpuVar;
pub(crate) use session::bring_up_ticks;
pub use session::run_shell;
pub use walks::log_walk;
pub use whereabouts::print_whereabouts;

/// Bytes of heap that are in use, by all CPUs.
pub(crate) fn heap_in_use() -> usize {
    heap::in_use()
}

/// Where the memory of the heap is.
pub(crate) fn heap_stats() -> HeapStats {
    heap::stats()
}

/// Bytes of free heap that `cpu` keeps for itself.
pub(crate) fn heap_cached(cpu: crate::cpu::CpuId) -> usize {
    heap::cached(cpu)
}

/// Stacks that are in use.
pub(crate) fn stacks_in_use() -> usize {
    kernel().areas.stacks_in_use()
}
