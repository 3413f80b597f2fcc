//! Counts what a hypervisor has to do for this kernel, in builds for tests and benches.
//!
//! An access *traps* if the CPU leaves the guest for it: some microseconds on real hardware,
//! which neither an emulator's time nor a count of instructions shows. What traps depends on
//! the hypervisor. Counted is what traps in KVM, where the guest may use nothing but what the
//! hardware virtualizes:
//!
//! | Access | Why it traps |
//! |---|---|
//! | WFI | the host runs something else meanwhile |
//! | HVC, SMC | it is a call of the host |
//! | registers of a GIC in memory (GICR, a GICv2's banked GICD) | the host emulates them |
//! | ICC_SGI1R_EL1, and GICD_SGIR of a GICv2 | the host finds the targets. The drivers count these themselves ([`IrqChip::sgi_writes`](crate::platform::IrqChip::sgi_writes)) |
//!
//! Not counted is what the hardware does by itself: to acknowledge and to end an interrupt, to
//! write the priority mask (ICC registers; GICC of a GICv2 is the hardware's GICV), the virtual
//! timer and its counter, barriers, and maintenance of caches and TLBs. The console and the
//! distributor's shared interrupts aren't counted either: no operation that is measured prints
//! or moves the interrupt of a device. Nor is a WFE, by which a CPU waits for a spin lock: it traps
//! only while something else on the host waits for the core.
//!
//! Without the feature `internals` nothing is counted, and [`count`] is no instruction.

/// What traps, beside SGIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// A WFI.
    Sleep,
    /// An HVC or SMC.
    Firmware,
    /// An access to a register of the interrupt controller in memory.
    Gic,
}

#[cfg(feature = "internals")]
mod counts {
    use super::Trap;
    use crate::arch::aarch64::cpu_local;
    use crate::config::MAX_CPUS;
    use crate::sync::CachePadded;
    use crate::sync::atomic::{AtomicU64, Ordering};

    /// Each CPU's counts, by [`Trap`]. Relaxed: counters, which order nothing. A static, because
    /// a CPU counts before it may touch its per-CPU area.
    static COUNTS: [CachePadded<[AtomicU64; 3]>; MAX_CPUS] =
        [const { CachePadded([const { AtomicU64::new(0) }; 3]) }; MAX_CPUS];

    /// Counts one `trap` of this CPU.
    #[inline]
    pub fn count(trap: Trap) {
        let cpu = cpu_local::this_cpu().cpu();
        // A read-modify-write, because an interrupt's handler may count too.
        COUNTS[cpu.index()].0[trap as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many times `trap` has occurred, on all CPUs together.
    pub fn counted(trap: Trap) -> u64 {
        let of =
            |counts: &CachePadded<[AtomicU64; 3]>| counts.0[trap as usize].load(Ordering::Relaxed);
        COUNTS.iter().map(of).sum()
    }
}

#[cfg(feature = "internals")]
pub use counts::{count, counted};

/// Counts nothing: see the module.
#[cfg(not(feature = "internals"))]
#[inline]
pub fn count(_trap: Trap) {}
