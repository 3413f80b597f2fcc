//! Memory that the hardware side keeps for each CPU and each thread: areas, boot
//! records, stacks. A CPU's memory is allocated once and never freed.

use core::ops::Range;

use crate::arch::aarch64::boot_record::{BootRecord, Handover};
use crate::arch::aarch64::context::{self, Context};
use crate::arch::aarch64::cpu_local::CpuLocal;
use crate::arch::aarch64::thread_head::ThreadHead;
use crate::cpu::{CpuId, PerCpu};
use crate::kernel::Hw;
use crate::kernel::kernel;
use crate::memory::{Stack, StackLayout, StackPool};
use crate::platform::{OutOfStacks, ThreadName};
use crate::sync::{Once, SpinLock, UnsafeCell};

/// The areas of all CPUs, and the pool of stacks.
pub(crate) struct Areas {
    /// The free stacks.
    pool: SpinLock<StackPool, Hw>,
    cpus: PerCpu<Area>,
}

/// The memory of one CPU.
struct Area {
    /// Tells the CPU at its entry where its memory is.
    record: BootRecord,
    /// Made by `prep:hardware` when the CPU is first brought up.
    entry: Once<Entry>,
    /// Set when `prep:percpu` has given the CPU its interrupt and overflow stacks.
    stacks: Once<()>,
}

/// The memory that a CPU's entry sets its registers from.
struct Entry {
    /// TPIDR_EL1 points to it.
    local: &'static CpuLocal,
    /// SP_EL0 points to it while the idle thread runs.
    idle: &'static ThreadHead,
    /// The stack that the CPU enters on, which is its idle thread's.
    stack: Range<usize>,
}

impl Areas {
    /// Returns areas for `cpus` CPUs, and a pool of the stacks of `layout`.
    pub(crate) fn new(cpus: usize, layout: StackLayout) -> Areas {
        let cpus = PerCpu::new(cpus, |_| Area {
            record: BootRecord::new(),
            entry: Once::new(),
            stacks: Once::new(),
        });
        // This cleans lines of the caches, so it comes once the records are in their final
        // place on the heap.
        cpus.iter().for_each(|(_, area)| area.record.settle());
        Areas {
            pool: SpinLock::new(StackPool::new(layout)),
            cpus,
        }
    }

    /// Returns `cpu`'s boot record.
    pub(crate) fn record(&self, cpu: CpuId) -> &BootRecord {
        &self.cpus.get(cpu).record
    }

    /// Records that the running CPU is `cpu`, and that it uses `local`, `idle` and `stack`.
    pub(crate) fn adopt(
        &self,
        cpu: CpuId,
        local: &'static CpuLocal,
        idle: &'static ThreadHead,
        stack: Range<usize>,
    ) {
        self.cpus
            .get(cpu)
            .entry
            .call_once(|| Entry { local, idle, stack });
    }

    /// Returns the CPU whose words for exception entry are at `address`.
    pub(super) fn cpu_at(&self, address: usize) -> Option<CpuId> {
        let mut cpus = self.cpus.iter();
        let found = cpus.find(|(_, area)| {
            let entry = area.entry.get();
            entry.is_some_and(|entry| entry.local.address() == address)
        });
        found.map(|(cpu, _)| cpu)
    }

    fn stack(&self) -> Result<Stack, OutOfStacks> {
        self.pool.lock_irqsave().alloc().ok_or(OutOfStacks)
    }

    /// Writes `cpu`'s boot record; first allocates the memory that the record names, if the
    /// CPU has none yet (`prep:hardware`).
    ///
    /// # Errors
    /// [`OutOfStacks`] if the pool is empty.
    pub(super) fn prepare_record(&self, cpu: CpuId) -> Result<(), OutOfStacks> {
        let area = self.cpus.get(cpu);
        if area.entry.get().is_none() {
            let stack = self.stack()?.range();
            let name = ThreadName::of_cpu("idle", cpu);
            let head = ThreadHead::new(name, stack.clone(), 0, 0);
            let idle: &'static ThreadHead = alloc::boxed::Box::leak(alloc::boxed::Box::new(head));
            let local = CpuLocal::new(cpu, 0..0, 0..0);
            let local: &'static CpuLocal = alloc::boxed::Box::leak(alloc::boxed::Box::new(local));
            self.adopt(cpu, local, idle, stack);
        }
        let entry = self.entry(cpu);
        // SAFETY: hotplug prepares no quarantined CPU. So this CPU was never started, or
        // firmware has reported it off since; and its entry uses this thread's stack.
        unsafe { entry.local.set_thread(entry.idle) };
        let kernel = kernel();
        let way_off = kernel.cpu_ops.way_off(kernel.mpidrs[cpu.index()]);
        area.record.prepare(&Handover {
            registers: kernel.mmu,
            vectors: crate::arch::aarch64::vectors::table(),
            cpu_local: entry.local.address(),
            thread: (&raw const *entry.idle).expose_provenance(),
            stack_top: entry.stack.end,
            off_method: way_off.off_method,
            cpu_off_function: way_off.cpu_off_function,
            pen_slot: way_off.pen_slot,
        });
        Ok(())
    }

    /// Gives `cpu` its interrupt and overflow stacks, if it has none yet
    /// (`prep:percpu`).
    ///
    /// # Errors
    /// [`OutOfStacks`] if the pool is empty.
    pub(super) fn prepare_stacks(&self, cpu: CpuId) -> Result<(), OutOfStacks> {
        let area = self.cpus.get(cpu);
        if area.stacks.get().is_none() {
            let irq = self.stack()?.range();
            let overflow = self.stack()?.range();
            // SAFETY: both stacks come from the pool, belong to this CPU and are never given
            // back. The CPU had none before, so it takes no interrupts yet.
            unsafe { self.entry(cpu).local.set_stacks(irq, overflow) };
            area.stacks.call_once(|| ());
        }
        Ok(())
    }

    /// Returns a context for `cpu`'s idle thread. It needs no registers: the CPU becomes its
    /// idle thread at its entry, on the stack that the boot record names.
    pub(super) fn idle_context(&self, cpu: CpuId) -> HwThread {
        HwThread {
            context: UnsafeCell::new(Context::default()),
            head: Head::Idle(self.entry(cpu).idle),
            stack: SpinLock::new(None),
        }
    }

    /// Returns a context for a new thread: see [`crate::platform::Platform::new_context`].
    pub(super) fn new_context(
        &self,
        name: &ThreadName,
        entry: extern "C" fn(usize) -> !,
        arg: usize,
    ) -> Result<HwThread, OutOfStacks> {
        let stack = self.stack()?;
        // SAFETY: the stack was taken from the pool just now, so no other thread
        // uses it; it is mapped.
        let context = unsafe { Context::new(stack.range(), entry, arg) };
        Ok(HwThread {
            context: UnsafeCell::new(context),
            head: Head::Own(ThreadHead::new(*name, stack.range(), 0, arg)),
            stack: SpinLock::new(Some(stack)),
        })
    }

    /// Returns how many stacks are in use.
    pub(crate) fn stacks_in_use(&self) -> usize {
        self.pool.lock_irqsave().in_use()
    }

    /// Returns how many stacks the pool was made with.
    pub(crate) fn stacks(&self) -> usize {
        self.pool.lock_irqsave().layout().count()
    }

    fn entry(&self, cpu: CpuId) -> &Entry {
        self.cpus
            .get(cpu)
            .entry
            .get()
            .expect("BUG: a CPU's area is used before prep:hardware")
    }
}

/// A thread's stack, the words that SP_EL0 points to, and its saved SP.
pub struct HwThread {
    /// The saved registers. `switch` writes them on the CPU that the thread leaves, and
    /// reads them on the CPU where it goes on, both under the lock of the thread's run queue.
    context: UnsafeCell<Context>,
    /// The words that SP_EL0 points to while the thread runs.
    head: Head,
    /// The stack, or `None` for an idle thread and for a thread that has ended.
    stack: SpinLock<Option<Stack>, Hw>,
}

/// A thread's head: part of its context, or, for an idle thread, made before that.
//
// In a debug build the head is large, because it has the list of locks that the thread
// holds. A box would save nothing: nearly every context has a head of its own.
#[cfg_attr(debug_assertions, allow(clippy::large_enum_variant))]
enum Head {
    Own(ThreadHead),
    Idle(&'static ThreadHead),
}

// SAFETY: only `switch` touches `context`, under the lock of the run queue that the thread
// belongs to, and that lock is released only after the registers are saved. The other
// fields are atomic, behind a lock, or never change.
unsafe impl Sync for HwThread {}

impl HwThread {
    fn head(&self) -> &ThreadHead {
        match &self.head {
            Head::Own(head) => head,
            Head::Idle(head) => head,
        }
    }

    /// See [`crate::platform::Platform::switch`].
    ///
    /// # Safety
    /// As for [`crate::platform::Platform::switch`].
    pub(super) unsafe fn switch(from: &HwThread, to: &HwThread) {
        // SAFETY: the caller promises that `from` runs here, that `to` runs nowhere, and that
        // both stay where they are.
        unsafe { context::switch_to(from.context.get(), to.context.get(), to.head()) };
    }
}

impl HwThread {
    /// Gives the thread's stack back to the pool, if the thread still has one.
    ///
    /// # Context
    /// Any.
    ///
    /// # Safety
    /// No CPU runs on the stack, and none will.
    pub(super) unsafe fn release_stack(&self) {
        let stack = self.stack.lock_irqsave().take();
        if let Some(stack) = stack {
            kernel().areas.pool.lock_irqsave().free(stack);
        }
    }
}

// A thread that never ran still has its stack.
impl Drop for HwThread {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the thread any more. A run queue refers to every thread
        // that runs or may run, so no CPU runs on this stack or ever will.
        unsafe { self.release_stack() };
    }
}
