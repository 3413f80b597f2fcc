//! The one kernel: an instance of every layer, the machine's description from the device
//! tree, and `Hw`, which implements the platform traits with the drivers.
//!
//! The statics of the kernel are here: heap, console, panic, exit, per-CPU variables,
//! interrupts. Only this module and `boot`, which makes the kernel, name `arch` and
//! `drivers`.

mod areas;
pub(crate) mod console;
mod cpu_power;
pub(crate) mod devices;
pub(crate) mod entry;
pub(crate) mod exit;
pub(crate) mod governor;
pub(crate) mod heap;
mod hw;
mod interrupts;
pub(crate) mod irqs;
#[cfg(feature = "net")]
pub(crate) mod net;
pub(crate) mod panic;
mod panic_hook;
pub(crate) mod per_cpu;
mod program_tests;
pub(crate) mod random;
pub(crate) mod static_key;
pub(crate) mod test_hooks;
pub(crate) mod tracing;
pub(crate) mod walks;
pub(crate) mod watchdog;
mod whereabouts;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::arch::aarch64::mmu::MmuRegisters;
use crate::cpu::{CpuId, CpuMasks, Mpidr, PerCpu};
use crate::hotplug::Hotplug;
use crate::irq::{IrqTable, Line};
use crate::platform::{IrqChip, PsciQuery, SGI_COUNT, Trigger};
use crate::rcu::GracePeriods;
use crate::sched::Scheduler;
use crate::smp::call::Calls;
use crate::stop_machine::StopMachine;
use crate::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Once, SleepCost, SpinBudget};
use crate::trace::Trace;

pub(crate) use areas::Areas;
pub(crate) use cpu_power::CpuPower;
pub(crate) use panic_hook::set_hook;
pub(crate) use walks::log_boot_walk;

#[cfg(feature = "shell")]
pub use crate::arch::aarch64::id_registers::id_registers;
#[cfg(feature = "internals")]
pub use crate::arch::aarch64::traps::{Trap, counted as counted_traps};
pub use areas::HwThread;
pub use console::{print, with_console_taken};
#[cfg(feature = "virtio")]
pub use devices::{VirtioNet, take_cards};
pub use exit::{exit, reboot};
pub use heap::HeapStats;
pub use hw::Hw;
pub use interrupts::TIMER_NAME;
pub use panic_hook::{HookIsSet, PanicReport};
pub use per_cpu::PerCpuVar;
pub use program_tests::{Test, run_tests};
pub use static_key::StaticKey;
pub use test_hooks::{LastCall, LastCallBy, TEST_SGI};
pub use tracing::{
    SchedTracingError, is_tracing, set_sched_tracing, set_tracing, wants_sched_tracing,
};
pub use walks::log_walk;
pub use whereabouts::print_whereabouts;

/// What a guard of `api` implements, so that a program can't implement the trait above it.
pub trait Sealed {}

/// The kernel: one instance of every layer, and the machine's description.
pub struct Kernel {
    /// Which CPUs are possible, online and active.
    pub masks: CpuMasks,
    /// The scheduler: threads and timers.
    pub sched: Scheduler<Hw>,
    /// Cross calls: functions that run on other CPUs.
    pub calls: Calls<Hw>,
    /// The stoppers of all CPUs.
    pub stop_machine: StopMachine<Hw>,
    /// RCU: grace periods.
    pub grace_periods: GracePeriods<Hw>,
    /// Brings CPUs up and takes them down.
    pub hotplug: Hotplug<Hw>,
    /// The trace rings.
    pub trace: Trace,
    /// How many interrupts each CPU has taken.
    pub interrupts: InterruptCounts,
    /// What a sleep costs on this machine.
    pub sleep_cost: SleepCost,
    /// How long waits for a spin lock spin, whichever lock it is.
    pub lock_spins: SpinBudget,
    /// Each CPU's affinity, indexed by CPU number.
    pub mpidrs: Vec<Mpidr>,
    /// Each CPU's MIDR_EL1, which the CPU has read itself; 0 before it first ran. Relaxed: it
    /// never changes.
    pub midrs: PerCpu<AtomicU32>,
    /// The checked copy of the device tree: see
    /// [`load_device_tree`](crate::boot::load_device_tree).
    pub device_tree: &'static [u8],
    /// The kernel command line.
    pub bootargs: &'static str,
    /// A test's handler of [`TEST_SGI`]: called on the CPU that takes it, on its IRQ stack with
    /// everything masked. Set once.
    pub test_handler: Once<fn()>,
    /// A test's replacement of the call by which a CPU goes off; it receives that call. Set
    /// once.
    pub test_last_act: Once<fn(&LastCall) -> !>,
    /// The interrupt controller.
    pub(crate) irq_chip: Box<dyn IrqChip + Send>,
    /// Turns CPUs and the machine on and off.
    pub(crate) cpu_ops: CpuPower,
    /// The INTID of the timer's interrupt.
    pub(crate) timer_ppi: u32,
    /// Whether the timer's line is level or edge triggered.
    pub(crate) timer_trigger: Trigger,
    /// The lines of devices.
    pub irqs: IrqTable<Hw>,
    /// The places for devices that the tree names.
    pub(crate) places: devices::Places,
    /// The MMU's registers, which every CPU sets at its entry.
    pub(crate) mmu: MmuRegisters,
    /// Each CPU's memory, and the pool of stacks.
    pub(crate) areas: Areas,
}

/// How often each CPU has taken each SGI, whether it was sent or posted, and its timer interrupt.
pub struct InterruptCounts {
    /// One count for each SGI, by its number, then the timer's. Relaxed: counters, which order
    /// nothing.
    counts: PerCpu<[AtomicU64; SGI_COUNT + 1]>,
}

impl InterruptCounts {
    /// Returns counts of 0 for `cpus` CPUs.
    pub(crate) fn new(cpus: usize) -> Self {
        InterruptCounts {
            counts: PerCpu::new(cpus, |_| [const { AtomicU64::new(0) }; SGI_COUNT + 1]),
        }
    }

    /// Counts an SGI of number `number` that `cpu`, which is this CPU, has taken.
    #[inline]
    pub(crate) fn count_sgi(&self, cpu: CpuId, number: u8) {
        let counts = self.counts.get(cpu);
        counts[usize::from(number)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a timer interrupt that `cpu`, which is this CPU, has taken.
    pub(crate) fn count_timer(&self, cpu: CpuId) {
        self.counts.get(cpu)[SGI_COUNT].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many SGIs of number `number` `cpu` has taken.
    ///
    /// # Panics
    /// If `number` is above 15.
    pub fn sgis(&self, cpu: CpuId, number: u8) -> u64 {
        self.counts.get(cpu)[..SGI_COUNT][usize::from(number)].load(Ordering::Relaxed)
    }

    /// Returns how many timer interrupts `cpu` has taken.
    pub fn timers(&self, cpu: CpuId) -> u64 {
        self.counts.get(cpu)[SGI_COUNT].load(Ordering::Relaxed)
    }
}

impl Kernel {
    /// Returns how many register writes all CPUs together have made to send SGI `number`.
    pub fn sgi_writes(&self, number: u8) -> u64 {
        self.irq_chip.sgi_writes(number)
    }

    /// Returns the registers of the address map, for tests that look into it.
    pub fn map(&self) -> &MmuRegisters {
        &self.mmu
    }

    /// Returns the INTID of the timer's interrupt.
    pub fn timer_ppi(&self) -> u32 {
        self.timer_ppi
    }

    /// Returns the interrupt controller, for tests that send SGIs of their own.
    pub fn irq_chip(&self) -> &dyn IrqChip {
        &*self.irq_chip
    }

    /// Returns the call by which `cpu` goes off, for benches that make it themselves.
    pub fn last_call(&self, cpu: CpuId) -> LastCall {
        self.cpu_ops.last_call(self.mpidrs[cpu.index()])
    }

    /// Asks firmware, and returns its answer; `None` if the machine has no PSCI.
    pub(crate) fn ask_firmware(&self, query: PsciQuery) -> Option<i64> {
        self.cpu_ops.ask(query)
    }

    /// Returns the number of the console's receive interrupt and the CPU that it goes to, if there
    /// is input.
    pub fn console_route(&self) -> Option<(u32, CpuId)> {
        let line = self.console_line()?;
        Some((line.irq().intid(), line.effective_affinity()?))
    }

    /// Returns the line of the console's receive interrupt, if there is input.
    pub fn console_line(&self) -> Option<&'static Line<Hw>> {
        console::line()
    }
}

static KERNEL: Once<Kernel> = Once::new();

/// The address of what is in [`KERNEL`], or null before it is there. The kernel is looked up
/// some twenty times in a stop of each CPU, and this costs four instructions, where the `Once`
/// costs seven. Stored Release by [`set_kernel`], loaded Acquire by [`try_kernel`].
static MADE: AtomicPtr<Kernel> = AtomicPtr::new(core::ptr::null_mut());

/// Makes `kernel` the kernel. Called once, by `boot`.
pub(crate) fn set_kernel(kernel: Kernel) -> &'static Kernel {
    let kernel = KERNEL.call_once(|| kernel);
    // Pairs with the Acquire in `try_kernel`.
    MADE.store(core::ptr::from_ref(kernel).cast_mut(), Ordering::Release);
    kernel
}

/// Returns the kernel, or `None` before `boot` has made it.
#[inline]
pub(crate) fn try_kernel() -> Option<&'static Kernel> {
    let made = MADE.load(Ordering::Acquire); // Pairs with the Release in `set_kernel`.
    // SAFETY: it is null, or the address of the value in `KERNEL`, which is a static: that value
    // stays where it is, and is only ever shared.
    unsafe { made.as_ref() }
}

/// Returns the kernel.
///
/// # Panics
/// If `boot` has not made it yet.
#[inline]
pub fn kernel() -> &'static Kernel {
    try_kernel().expect("BUG: the kernel is used before it is made")
}

/// Returns how many bytes of the heap are in use.
pub(crate) fn heap_in_use() -> usize {
    heap::in_use()
}

/// Returns how the memory of the heap is used.
pub(crate) fn heap_stats() -> HeapStats {
    heap::stats()
}

/// Returns how many free bytes of the heap are in the cache of `cpu`.
pub(crate) fn heap_cached(cpu: crate::cpu::CpuId) -> usize {
    heap::cached(cpu)
}

/// Returns how many stacks are in use.
pub(crate) fn stacks_in_use() -> usize {
    kernel().areas.stacks_in_use()
}
