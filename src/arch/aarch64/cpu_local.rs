//! What exception entry needs to know of its CPU, at `TPIDR_EL1`.
//!
//! Before an exception pushes a single register it has to know whether the stack
//! has room, and where to go if not. With one register to work with that must
//! take one load: [`CpuLocal`] keeps the limit of the stack in use, and the two
//! stacks that are this CPU's own.
//!
//! | Stack | In use while |
//! |---|---|
//! | the thread's | a thread runs, and a synchronous exception of it is handled |
//! | IRQ | `stillpoint_irq` runs, between two changes of `stack_limit` |
//! | overflow | an exception is reported whose stack has no room for that |
//!
//! Only this CPU writes its `CpuLocal`, with interrupts masked; the fields are
//! relaxed atomics because assembly changes them behind the compiler's back.
//! The boot CPU has one from its first line of Rust ([`adopt_boot_cpu`]), so
//! that even a fault with the MMU off is reported.

use core::arch::asm;
use core::mem::offset_of;
use core::ops::Range;

use super::exception::FRAME_SIZE;
use super::image;
use super::thread_head::ThreadHead;
use super::vectors;
use crate::cpu::CpuId;
use crate::platform::{PreemptWork, ThreadName};
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The words of one CPU that exception entry uses.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct CpuLocal {
    /// The lowest SP at which a frame still fits the stack in use.
    stack_limit: AtomicUsize,
    irq_stack_top: AtomicUsize,
    irq_stack_limit: AtomicUsize,
    overflow_stack_top: AtomicUsize,
    overflow_stack_limit: AtomicUsize,
    /// For assembly that has run out of registers.
    scratch: [AtomicUsize; 3],
    cpu: u32,
    /// Fault reports that have begun on this CPU.
    reports: AtomicU32,
    /// What is to be done at the next preemption point: bits of
    /// [`PreemptWork`].
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
    /// Returns the words of CPU `cpu`, which takes interrupts on `irq_stack` and reports
    /// faults on `overflow_stack`. Both of at most 64 KiB, ends multiples of 16.
    pub const fn new(cpu: CpuId, irq_stack: Range<usize>, overflow_stack: Range<usize>) -> Self {
        #[allow(clippy::cast_possible_truncation)] // MAX_CPUS fits.
        let cpu = cpu.index() as u32;
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

    /// Returns its address, for `TPIDR_EL1`.
    pub fn address(&self) -> usize {
        (&raw const *self).addr()
    }

    /// Says that the CPU runs on the stack of `thread`.
    ///
    /// # Safety
    /// It does, or will when it is started. The CPU hasn't been started, or is this one
    /// with interrupts masked.
    pub unsafe fn set_thread(&self, thread: &ThreadHead) {
        self.stack_limit
            .store(thread.stack_limit(), Ordering::Relaxed);
    }

    /// Returns the stack that interrupts are handled on.
    pub fn irq_stack(&self) -> Range<usize> {
        self.irq_stack_limit.load(Ordering::Relaxed) - FRAME_SIZE
            ..self.irq_stack_top.load(Ordering::Relaxed)
    }

    /// Returns the stack that faults without a usable stack are reported on.
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

    /// Says whether this CPU has `work` to do. A load and a store suffice.
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
    /// Control CPU before this one runs, or this CPU with interrupts masked.
    ///
    /// # Safety
    /// Both are mapped, are this CPU's alone as long as it may run, and have room for an
    /// exception frame: exceptions are saved there.
    pub unsafe fn set_stacks(&self, irq: Range<usize>, overflow: Range<usize>) {
        let set = |word: &AtomicUsize, value: usize| word.store(value, Ordering::Relaxed);
        set(&self.irq_stack_top, irq.end);
        set(&self.irq_stack_limit, irq.start + FRAME_SIZE);
        set(&self.overflow_stack_top, overflow.end);
        set(&self.overflow_stack_limit, overflow.start + FRAME_SIZE);
    }

    /// Returns the logical number of the CPU.
    pub const fn cpu_index(&self) -> usize {
        self.cpu as usize
    }

    /// Counts a fault report that begins here, and returns how many had begun
    /// before: more than none is a fault inside a report.
    pub(super) fn begin_report(&self) -> u32 {
        let before = self.reports.load(Ordering::Relaxed);
        self.reports
            .store(before.saturating_add(1), Ordering::Relaxed);
        before
    }
}

/// The boot CPU's words until it gets those of the per-CPU area.
static BOOT_CPU: CpuLocal = CpuLocal::new(CpuId::BOOT, 0..0, 0..0);

/// The thread that boots.
static BOOT_THREAD: ThreadHead = ThreadHead::new(ThreadName::literal("idle/0"), 0..0, 0, 0);

/// Returns the words and the thread of the boot CPU.
pub fn boot_cpu() -> (&'static CpuLocal, &'static ThreadHead) {
    (&BOOT_CPU, &BOOT_THREAD)
}

/// Makes the boot CPU able to report faults, and gives it a running thread: the
/// first thing to call in `stillpoint_boot`. Works with the MMU off.
///
/// Until [`adopt`] is called with stacks of the pool, interrupts stay masked:
/// there is no IRQ stack yet.
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

/// Makes `local` the words of this CPU and `thread` its running thread, and
/// installs the exception vectors.
///
/// # Safety
/// Interrupts are masked, this runs on the stack of `thread`, and the stacks of
/// `local` are this CPU's alone.
pub unsafe fn adopt(local: &'static CpuLocal, thread: &'static ThreadHead) {
    // SAFETY: the caller promises both.
    unsafe { local.set_thread(thread) };
    let head = (&raw const *thread).expose_provenance();
    let local = (&raw const *local).expose_provenance();
    // SAFETY: Both live for ever, and the caller vouches for what they say. The
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

/// Returns the words of this CPU. Which CPU that is can change right after, unless
/// preemption or interrupts are off.
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

/// Returns the logical number of this CPU. Stable only with preemption or interrupts off.
#[inline]
pub fn this_cpu_index() -> usize {
    this_cpu().cpu_index()
}
