//! The data of a CPU that exception entry needs; `TPIDR_EL1` holds their address.
//!
//! Before exception entry pushes the first register, it has to know whether the stack
//! has room, and which stack to use if not. It has one free register for that, so it must
//! find the limit of the stack in use with one load. [`CpuLocal`] holds that limit, and
//! the two stacks that belong to the CPU.
//!
//! | Stack | In use while |
//! |---|---|
//! | the thread's | a thread runs, and a synchronous exception of it is handled |
//! | IRQ | `stillpoint_irq` runs, between two changes of `stack_limit` |
//! | overflow | an exception is reported for which the stack in use has no room |
//!
//! Once a CPU runs, only that CPU writes its `CpuLocal`, with interrupts masked. The
//! fields are atomics because assembly changes them without the compiler's knowledge.
//! Relaxed suffices, because no other CPU reads them while the CPU runs. The boot CPU has
//! one from its first line of Rust ([`adopt_boot_cpu`]), so that even a fault with the
//! MMU off is reported.

use core::mem::offset_of;
use core::ops::Range;

use super::exception::FRAME_SIZE;
use super::image;
use super::thread_head::ThreadHead;
use super::vectors;
use crate::arch::assembly::asm;
use crate::cpu::CpuId;
use crate::platform::{PreemptWork, ThreadName};
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The data of one CPU that exception entry uses. A *limit* is the lowest SP at which an
/// exception frame still fits a stack.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct CpuLocal {
    /// The limit of the stack in use.
    stack_limit: AtomicUsize,
    /// The address behind the IRQ stack.
    irq_stack_top: AtomicUsize,
    /// The limit of the IRQ stack.
    irq_stack_limit: AtomicUsize,
    /// The address behind the overflow stack.
    overflow_stack_top: AtomicUsize,
    /// The limit of the overflow stack.
    overflow_stack_limit: AtomicUsize,
    /// Values that exception entry keeps while the stack has no room for them.
    scratch: [AtomicUsize; 3],
    /// The logical number of the CPU, as it is used, so that it needs no check.
    cpu: CpuId,
    /// How many fault reports have begun on this CPU.
    reports: AtomicU32,
    /// The work for the next preemption point: bits of [`PreemptWork`].
    preempt_work: AtomicU32,
}

/// Offsets that [`super::vectors`] and [`super::context`] use.
pub(super) mod offsets {
    use super::{CpuLocal, offset_of};

    pub(in super::super) const STACK_LIMIT: usize = offset_of!(CpuLocal, stack_limit);
    pub(in super::super) const IRQ_TOP: usize = offset_of!(CpuLocal, irq_stack_top);
    pub(in super::super) const OVERFLOW_TOP: usize = offset_of!(CpuLocal, overflow_stack_top);
    pub(in super::super) const OVERFLOW_LIMIT: usize = offset_of!(CpuLocal, overflow_stack_limit);
    pub(in super::super) const SCRATCH: usize = offset_of!(CpuLocal, scratch);

    // The IRQ stack's top and limit are loaded as a pair.
    const _: () = assert!(offset_of!(CpuLocal, irq_stack_limit) == IRQ_TOP + 8);
}

impl CpuLocal {
    /// Returns the data of CPU `cpu`, which takes interrupts on `irq_stack` and reports
    /// faults on `overflow_stack`. Each of the two has at most 64 KiB, and its ends are
    /// multiples of 16.
    pub const fn new(cpu: CpuId, irq_stack: Range<usize>, overflow_stack: Range<usize>) -> Self {
        CpuLocal {
            stack_limit: AtomicUsize::new(0),
            irq_stack_top: AtomicUsize::new(irq_stack.end),
            irq_stack_limit: AtomicUsize::new(irq_stack.start + FRAME_SIZE),
            overflow_stack_top: AtomicUsize::new(overflow_stack.end),
            overflow_stack_limit: AtomicUsize::new(overflow_stack.start + FRAME_SIZE),
            scratch: [const { AtomicUsize::new(0) }; 3],
            cpu,
            reports: AtomicU32::new(0),
            preempt_work: AtomicU32::new(0),
        }
    }

    /// Returns the address for `TPIDR_EL1`.
    pub fn address(&self) -> usize {
        (&raw const *self).addr()
    }

    /// Records that the CPU runs on the stack of `thread`.
    ///
    /// # Safety
    /// The CPU does so, or will when it is started. It hasn't been started yet, or is the
    /// running CPU with interrupts masked.
    pub unsafe fn set_thread(&self, thread: &ThreadHead) {
        self.stack_limit
            .store(thread.stack_limit(), Ordering::Relaxed);
    }

    /// Returns the stack on which the CPU handles interrupts.
    pub fn irq_stack(&self) -> Range<usize> {
        self.irq_stack_limit.load(Ordering::Relaxed) - FRAME_SIZE
            ..self.irq_stack_top.load(Ordering::Relaxed)
    }

    /// Returns the stack on which the CPU reports a fault if the stack in use has no room.
    pub fn overflow_stack(&self) -> Range<usize> {
        self.overflow_stack_limit.load(Ordering::Relaxed) - FRAME_SIZE
            ..self.overflow_stack_top.load(Ordering::Relaxed)
    }

    /// Returns whether this CPU has anything to do at a preemption point.
    #[inline]
    pub fn has_preempt_work(&self) -> bool {
        self.preempt_work.load(Ordering::Relaxed) != 0
    }

    /// Returns whether this CPU has `work` to do at a preemption point.
    #[inline]
    pub fn has_this_preempt_work(&self, work: PreemptWork) -> bool {
        self.preempt_work.load(Ordering::Relaxed) & work as u32 != 0
    }

    /// Sets whether this CPU has `work` to do. A load and a store suffice, because nothing
    /// can come between them.
    ///
    /// # Context
    /// This CPU, interrupts masked.
    #[inline]
    pub fn set_preempt_work(&self, work: PreemptWork, pending: bool) {
        let others = self.preempt_work.load(Ordering::Relaxed) & !(work as u32);
        let bit = if pending { work as u32 } else { 0 };
        self.preempt_work.store(others | bit, Ordering::Relaxed);
    }

    /// Gives the CPU its interrupt and overflow stacks.
    ///
    /// # Context
    /// The control CPU before this CPU runs, or this CPU with interrupts masked.
    ///
    /// # Safety
    /// Both are mapped and have room for an exception frame, and only this CPU uses them as
    /// long as it may run: exceptions are saved there.
    pub unsafe fn set_stacks(&self, irq: Range<usize>, overflow: Range<usize>) {
        let set = |word: &AtomicUsize, value: usize| word.store(value, Ordering::Relaxed);
        set(&self.irq_stack_top, irq.end);
        set(&self.irq_stack_limit, irq.start + FRAME_SIZE);
        set(&self.overflow_stack_top, overflow.end);
        set(&self.overflow_stack_limit, overflow.start + FRAME_SIZE);
    }

    /// Returns the logical number of the CPU.
    #[inline]
    pub const fn cpu(&self) -> CpuId {
        self.cpu
    }

    /// Counts a fault report that begins now, and returns how many had begun
    /// before. If that isn't 0, a report has faulted itself.
    pub(super) fn begin_report(&self) -> u32 {
        let before = self.reports.load(Ordering::Relaxed);
        self.reports
            .store(before.saturating_add(1), Ordering::Relaxed);
        before
    }
}

/// The boot CPU's data until it gets its per-CPU area.
static BOOT_CPU: CpuLocal = CpuLocal::new(CpuId::BOOT, 0..0, 0..0);

/// The boot thread, which becomes the boot CPU's idle thread.
static BOOT_THREAD: ThreadHead = ThreadHead::new(ThreadName::literal("idle/0"), 0..0, 0, 0);

/// Returns the boot CPU's first data and its boot thread.
pub fn boot_cpu() -> (&'static CpuLocal, &'static ThreadHead) {
    (&BOOT_CPU, &BOOT_THREAD)
}

/// Makes the boot CPU able to report faults, and makes the boot thread its running
/// thread. Interrupts must stay masked until [`adopt`] is called with stacks of the pool,
/// because there is no IRQ stack yet.
///
/// # Context
/// Boot CPU, as the first call of `stillpoint_boot`, MMU off.
pub fn adopt_boot_cpu() {
    let overflow = image::boot_overflow_stack();
    BOOT_THREAD.set_stack(&image::boot_stack());
    BOOT_CPU
        .overflow_stack_limit
        .store(overflow.start + FRAME_SIZE, Ordering::Relaxed);
    BOOT_CPU
        .overflow_stack_top
        .store(overflow.end, Ordering::Relaxed);
    // SAFETY: This is the boot thread on the boot stack, interrupts masked.
    unsafe { adopt(&BOOT_CPU, &BOOT_THREAD) };
}

/// Makes `local` the data of this CPU and `thread` its running thread, and
/// installs the exception vectors.
///
/// # Safety
/// Interrupts are masked, the caller runs on the stack of `thread`, and only this CPU uses
/// the stacks of `local`.
pub unsafe fn adopt(local: &'static CpuLocal, thread: &'static ThreadHead) {
    // SAFETY: the caller promises both.
    unsafe { local.set_thread(thread) };
    let head = (&raw const *thread).expose_provenance();
    let local = (&raw const *local).expose_provenance();
    // SAFETY: both live for ever, and the caller promises that they describe this CPU. The
    // vectors use TPIDR_EL1, so they come last.
    unsafe {
        asm!(
            "msr sp_el0, {head}",
            "msr tpidr_el1, {local}",
            "msr vbar_el1, {vectors}",
            "isb",
            head = in(reg) head,
            local = in(reg) local,
            vectors = in(reg) vectors::table(),
            options(nostack, preserves_flags)
        );
    }
}

/// Returns the data of this CPU. Unless preemption or interrupts are off, the thread may
/// be on another CPU right afterwards.
#[inline]
pub fn this_cpu() -> &'static CpuLocal {
    let local: usize;
    // SAFETY: Reads a register.
    unsafe {
        asm!("mrs {local}, tpidr_el1", local = out(reg) local, options(nomem, nostack, preserves_flags));
    }
    // SAFETY: TPIDR_EL1 was set by `adopt`, or from a boot record, to a
    // `CpuLocal` that lives for ever.
    unsafe { &*core::ptr::with_exposed_provenance::<CpuLocal>(local) }
}
