//! What the hardware side keeps of each CPU and each thread: areas, boot
//! records, stacks. Made once, kept for ever (a CPU's memory is never freed).

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

/// Areas of all CPUs, and the pool of stacks.
pub(crate) struct Areas {
    pool: SpinLock<StackPool, Hw>,
    cpus: PerCpu<Area>,
}

/// One CPU's.
struct Area {
    record: BootRecord,
    /// What `prep:hardware` makes: the entry stack, which is idle's, and the
    /// words that TPIDR_EL1 and SP_EL0 point to. Set once.
    entry: Once<Entry>,
    /// Set once by `prep:percpu`.
    stacks: Once<()>,
}

struct Entry {
    local: &'static CpuLocal,
    idle: &'static ThreadHead,
    stack: Range<usize>,
}

impl Areas {
    pub(crate) fn new(cpus: usize, layout: StackLayout) -> Areas {
        let cpus = PerCpu::new(cpus, |_| Area {
            record: BootRecord::new(),
            entry: Once::new(),
            stacks: Once::new(),
        });
        // On the heap they stay where they are.
        cpus.iter().for_each(|(_, area)| area.record.settle());
        Areas {
            pool: SpinLock::new(StackPool::new(layout)),
            cpus,
        }
    }

    /// `cpu`'s boot record.
    pub(crate) fn record(&self, cpu: CpuId) -> &BootRecord {
        &self.cpus.get(cpu).record
    }

    /// Says that the running CPU is `cpu`, with these words and this stack.
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

    /// Makes what the boot record hands over, if this is the CPU's first time,
    /// and writes the record (`prep:hardware`).
    pub(super) fn prepare_record(&self, cpu: CpuId) -> Result<(), OutOfStacks> {
        let area = self.cpus.get(cpu);
        if area.entry.get().is_none() {
            let stack = self.stack()?.range();
            let name = ThreadName::new(format_args!("idle/{cpu}"));
            let head = ThreadHead::new(name, stack.clone(), 0, 0);
            let idle: &'static ThreadHead = alloc::boxed::Box::leak(alloc::boxed::Box::new(head));
            let local = CpuLocal::new(cpu, 0..0, 0..0);
            let local: &'static CpuLocal = alloc::boxed::Box::leak(alloc::boxed::Box::new(local));
            self.adopt(cpu, local, idle, stack);
        }
        let entry = self.entry(cpu);
        // SAFETY: hotplug asks only where the CPU isn't quarantined. So it was never started,
        // or firmware has said since that it is off; its entry puts it on the stack of this
        // thread.
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
    pub(super) fn prepare_stacks(&self, cpu: CpuId) -> Result<(), OutOfStacks> {
        let area = self.cpus.get(cpu);
        if area.stacks.get().is_none() {
            let irq = self.stack()?.range();
            let overflow = self.stack()?.range();
            // SAFETY: both are of the pool, taken for this CPU and never given back; it
            // has had none before, so it doesn't take interrupts yet.
            unsafe { self.entry(cpu).local.set_stacks(irq, overflow) };
            area.stacks.call_once(|| ());
        }
        Ok(())
    }

    /// Returns a context for `cpu`'s idle thread: it is the code that enters on the stack
    /// of the boot record.
    pub(super) fn idle_context(&self, cpu: CpuId) -> HwThread {
        HwThread {
            context: UnsafeCell::new(Context::default()),
            head: Head::Idle(self.entry(cpu).idle),
            stack: SpinLock::new(None),
        }
    }

    /// A context for a new thread: see [`crate::platform::Platform::new_context`].
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

    /// Returns how many stacks there are, in use or not.
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
    /// Written by `switch` on the CPU that the thread leaves, read on the one where it
    /// goes on.
    context: UnsafeCell<Context>,
    head: Head,
    /// Until the thread has ended, however long a handle keeps the rest.
    stack: SpinLock<Option<Stack>, Hw>,
}

// What a thread holds is part of its head in a debug build: on the heap with it, wherever
// that is, and no other place is spared by a box.
#[cfg_attr(debug_assertions, allow(clippy::large_enum_variant))]
enum Head {
    Own(ThreadHead),
    Idle(&'static ThreadHead),
}

// SAFETY: `context` is touched by `switch` alone, under the lock of the run queue that
// the thread belongs to, which is opened only when its registers are saved; the rest is
// atomic or never changes.
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
    /// As there.
    pub(super) unsafe fn switch(from: &HwThread, to: &HwThread) {
        // SAFETY: the caller promises which thread runs on which CPU; both contexts and the head
        // stay where they are.
        unsafe { context::switch_to(from.context.get(), to.context.get(), to.head()) };
    }
}

impl HwThread {
    /// Gives the stack back to the pool, if this still has one.
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

// One that never ran has its stack still.
impl Drop for HwThread {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the thread any more, and a thread that runs or may run
        // is referred to by its run queue.
        unsafe { self.release_stack() };
    }
}
