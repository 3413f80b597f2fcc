//! The one kernel: every layer's instance, what the tree said of the machine, and the one
//! `Hw` that implements the platform traits from the drivers.
//!
//! This is where the statics are: heap, console, panic, exit, per-CPU variables,
//! interrupts. Only this module and `boot`, which makes the kernel, name `arch` and
//! `drivers`.

mod areas;
pub(crate) mod console;
mod cpu_power;
pub(crate) mod exit;
pub(crate) mod heap;
mod hw;
mod interrupts;
pub(crate) mod panic;
mod panic_hook;
pub(crate) mod per_cpu;
pub(crate) mod refusal;
pub(crate) mod test_hooks;
pub(crate) mod walks;
mod whereabouts;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::arch::aarch64::mmu::MmuRegisters;
use crate::cpu::{CpuId, CpuMasks, Mpidr, PerCpu};
use crate::hotplug::Hotplug;
use crate::platform::{IrqChip, SGI_COUNT, Trigger};
use crate::rcu::GracePeriods;
use crate::sched::Scheduler;
use crate::smp::call::Calls;
use crate::stop_machine::StopMachine;
use crate::sync::Once;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::trace::Trace;

pub(crate) use areas::Areas;
pub(crate) use cpu_power::CpuPower;
pub(crate) use panic_hook::set_hook;

pub use areas::HwThread;
pub use console::{print, with_console_taken};
pub use exit::{exit, reboot};
pub use heap::HeapStats;
pub use hw::Hw;
pub use panic_hook::{HookIsSet, PanicReport};
pub use per_cpu::PerCpuVar;
pub use test_hooks::{LastCall, LastCallBy, TEST_SGI};
pub use walks::log_walk;
pub use whereabouts::print_whereabouts;

/// All that the kernel knows and has.
pub struct Kernel {
    /// Which CPUs there are, and how far each has come.
    pub masks: CpuMasks,
    /// Threads.
    pub sched: Scheduler<Hw>,
    /// Functions that run on other CPUs.
    pub calls: Calls<Hw>,
    /// Stoppers.
    pub stop_machine: StopMachine<Hw>,
    /// Grace periods.
    pub grace_periods: GracePeriods<Hw>,
    /// CPUs that come and go.
    pub hotplug: Hotplug<Hw>,
    /// What happened.
    pub trace: Trace,
    /// Interrupts taken, for tests and for people.
    pub interrupts: InterruptCounts,
    /// Each CPU's affinity, by CPU number.
    pub mpidrs: Vec<Mpidr>,
    /// Each CPU's MIDR_EL1, as it read it itself; 0 before it ever ran. Relaxed:
    /// a fact about the silicon.
    pub midrs: PerCpu<AtomicU32>,
    /// The checked copy of the device tree: see
    /// [`load_device_tree`](crate::boot::load_device_tree).
    pub device_tree: &'static [u8],
    /// The kernel command line.
    pub bootargs: &'static str,
    /// For tests: called on each CPU that takes [`TEST_SGI`], on its IRQ stack with
    /// everything masked. Set once.
    pub test_handler: Once<fn()>,
    /// For tests: how a CPU goes off instead, from the call on that it would make.
    /// Set once.
    pub test_last_act: Once<fn(&LastCall) -> !>,
    pub(crate) irq_chip: Box<dyn IrqChip + Send>,
    pub(crate) cpu_ops: CpuPower,
    pub(crate) timer_ppi: u32,
    pub(crate) timer_trigger: Trigger,
    pub(crate) console_spi: Option<u32>,
    pub(crate) mmu: MmuRegisters,
    pub(crate) areas: Areas,
}

/// How often each CPU has taken each SGI and its timer interrupt. Counters:
/// they order nothing.
pub struct InterruptCounts {
    counts: PerCpu<[AtomicU64; SGI_COUNT + 1]>,
}

impl InterruptCounts {
    pub(crate) fn new(cpus: usize) -> Self {
        InterruptCounts {
            counts: PerCpu::new(cpus, |_| [const { AtomicU64::new(0) }; SGI_COUNT + 1]),
        }
    }

    #[inline]
    pub(crate) fn count_sgi(&self, cpu: CpuId, number: u8) {
        let counts = self.counts.get(cpu);
        counts[usize::from(number)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_timer(&self, cpu: CpuId) {
        self.counts.get(cpu)[SGI_COUNT].fetch_add(1, Ordering::Relaxed);
    }

    /// SGIs of number `number` that `cpu` has taken.
    ///
    /// # Panics
    /// If `number` is above 15.
    pub fn sgis(&self, cpu: CpuId, number: u8) -> u64 {
        self.counts.get(cpu)[..SGI_COUNT][usize::from(number)].load(Ordering::Relaxed)
    }

    /// Timer interrupts that `cpu` has taken.
    pub fn timers(&self, cpu: CpuId) -> u64 {
        self.counts.get(cpu)[SGI_COUNT].load(Ordering::Relaxed)
    }
}

impl Kernel {
    /// Register writes that sending SGI `number` has taken, by all CPUs.
    pub fn sgi_writes(&self, number: u8) -> u64 {
        self.irq_chip.sgi_writes(number)
    }

    /// Returns the interrupt controller, for tests that send SGIs of their own.
    pub fn irq_chip(&self) -> &dyn IrqChip {
        &*self.irq_chip
    }
}

static KERNEL: Once<Kernel> = Once::new();

pub(crate) fn set_kernel(kernel: Kernel) -> &'static Kernel {
    KERNEL.call_once(|| kernel)
}

/// Returns the kernel, or `None` while it is being made.
#[inline]
pub(crate) fn try_kernel() -> Option<&'static Kernel> {
    KERNEL.get()
}

/// Returns the kernel.
///
/// # Panics
/// While it is being made.
#[inline]
pub fn kernel() -> &'static Kernel {
    KERNEL
        .get()
        .expect("BUG: the kernel is used before it is made")
}

/// Returns the number of bytes of heap that are in use, by all CPUs.
pub(crate) fn heap_in_use() -> usize {
    heap::in_use()
}

/// Returns where the memory of the heap is.
pub(crate) fn heap_stats() -> HeapStats {
    heap::stats()
}

/// Returns the number of bytes of free heap that `cpu` keeps for itself.
pub(crate) fn heap_cached(cpu: crate::cpu::CpuId) -> usize {
    heap::cached(cpu)
}

/// Stacks that are in use.
pub(crate) fn stacks_in_use() -> usize {
    kernel().areas.stacks_in_use()
}
