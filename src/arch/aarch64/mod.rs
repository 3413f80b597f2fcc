//! AArch64: from the first instruction to a CPU that runs threads.
//!
//! ```text
//!             boot CPU                              CPU started by CPU_ON
//!  Image ──► _start (boot)                         secondary_entry (secondary)
//!               │      └────────► entry: EL2 → EL1 ◄──────┘      │
//!               │ relocate, zero bss                             │ reads its boot_record
//!               ▼                                                │
//!         stillpoint_boot, MMU off                               │
//!               │ mmu: build the map, enable                     │ MMU on, same map
//!               ▼                                                ▼
//!         cpu_local, vectors: faults are reported, stacks are tested
//!               │                                                │
//!               ▼                                                ▼
//!            threads: context, exceptions: vectors → exception → backtrace
//! ```
//!
//! The functions that this layer calls upwards are plain symbols, defined once in
//! `boot` (`stillpoint_boot`, `stillpoint_secondary`) or `kernel` (`stillpoint_irq`,
//! `stillpoint_irq_exit`, `stillpoint_exception`; `stillpoint_irq_traced` and
//! `stillpoint_switch_traced` while scheduling events are recorded).

pub mod backtrace;
pub mod boot;
pub mod boot_record;
pub mod cache;
pub mod context;
pub mod cpu;
pub mod cpu_local;
#[cfg(feature = "internals")]
pub mod early_test;
mod entry;
pub mod exception;
pub mod failure;
pub mod hint;
#[cfg(feature = "shell")]
pub mod id_registers;
pub mod image;
pub mod irq;
pub mod mmu;
pub mod pen;
pub mod probe;
pub mod psci;
pub mod secondary;
pub mod semihosting;
pub mod text;
pub mod thread_head;
pub mod timer;
mod traced_call;
pub mod traps;
pub mod vectors;
