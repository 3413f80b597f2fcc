//! The data of the running thread that assembly and fault reports use.
//!
//! A kernel that never runs at EL0, and never on `SP_EL0`, doesn't need that register. So
//! it holds the address of the running thread's [`ThreadHead`]. The context switch changes
//! the register together with the stack, so code that reads it gets its own thread,
//! whatever CPU it runs on, and preemption can't make the value stale.
//!
//! # Invariants
//!
//! - **own-preempt-count**: only the thread itself, or a handler that interrupts it on
//!   its CPU, writes its preempt count.
//! - **handler-restores-count**: at the end of a handler the count is what it was at its
//!   beginning. The end of the interrupt checks that for a program's handlers.
//!
//! So the load, the addition and the store of a change need not be one access: a handler
//! that comes between them restores the count. They are relaxed atomic accesses, which
//! cost no more than plain ones, because another CPU may read the count for a report of
//! which CPU holds something up.

use core::mem::offset_of;
use core::ops::Range;

use super::exception::FRAME_SIZE;
use super::hint::compiler_barrier;
use crate::arch::assembly::asm;
use crate::platform::ThreadName;
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The part of a thread to which `SP_EL0` points while the thread runs.
#[derive(Debug)]
#[repr(C)]
pub struct ThreadHead {
    /// How many sections with preemption off the thread is in.
    preempt_count: AtomicU32,
    /// The lowest address of the thread's stack.
    stack_bottom: AtomicUsize,
    /// The address behind the thread's stack.
    stack_top: AtomicUsize,
    /// The thread's name, for fault reports.
    name: ThreadName,
    /// The value by which the scheduler finds its own data of the thread. It is set before
    /// the thread runs, or by the thread itself.
    word: AtomicUsize,
    /// The locks that the thread holds, for the lock validator.
    #[cfg(debug_assertions)]
    held: crate::sync::HeldCell,
}

// A debugger's script may rely on this layout.
const _: () = assert!(offset_of!(ThreadHead, preempt_count) == 0);
const _: () = assert!(offset_of!(ThreadHead, stack_bottom) == 8);

impl ThreadHead {
    /// Returns the head of a thread called `name` on `stack`.
    ///
    /// * `preempt_count` — the thread's preempt count when it first runs
    /// * `word` — the value by which the scheduler finds its own data of the thread
    pub const fn new(
        name: ThreadName,
        stack: Range<usize>,
        preempt_count: u32,
        word: usize,
    ) -> ThreadHead {
        ThreadHead {
            preempt_count: AtomicU32::new(preempt_count),
            stack_bottom: AtomicUsize::new(stack.start),
            stack_top: AtomicUsize::new(stack.end),
            name,
            word: AtomicUsize::new(word),
            #[cfg(debug_assertions)]
            held: crate::sync::HeldCell::new(),
        }
    }

    /// Returns the value by which the scheduler finds its own data of the thread.
    #[inline]
    pub fn word(&self) -> usize {
        self.word.load(Ordering::Relaxed)
    }

    /// Sets the value by which the scheduler finds its own data of the thread.
    ///
    /// # Safety
    /// This is the head of the running thread, and `word` stands for that thread in the
    /// scheduler.
    pub unsafe fn set_word(&self, word: usize) {
        self.word.store(word, Ordering::Relaxed);
    }

    /// Returns the record of the locks that the thread holds, for the lock validator.
    #[cfg(debug_assertions)]
    pub fn held(&self) -> &crate::sync::HeldCell {
        &self.held
    }

    /// Returns the thread's name.
    pub const fn name(&self) -> &ThreadName {
        &self.name
    }

    /// Returns the thread's stack.
    pub fn stack(&self) -> Range<usize> {
        self.stack_bottom.load(Ordering::Relaxed)..self.stack_top.load(Ordering::Relaxed)
    }

    /// Sets the thread's stack.
    ///
    /// # Context
    /// The thread doesn't run, or hasn't been adopted yet.
    pub(super) fn set_stack(&self, stack: &Range<usize>) {
        self.stack_bottom.store(stack.start, Ordering::Relaxed);
        self.stack_top.store(stack.end, Ordering::Relaxed);
    }

    /// Returns the lowest SP at which an exception frame still fits the stack.
    pub fn stack_limit(&self) -> usize {
        self.stack_bottom.load(Ordering::Relaxed) + FRAME_SIZE
    }

    /// Returns the preempt count. If another thread reads it, the value may be old.
    #[inline]
    pub fn preempt_count(&self) -> u32 {
        self.preempt_count.load(Ordering::Relaxed)
    }

    /// Adds one to the preempt count of the running thread, whose head this is
    /// (own-preempt-count, handler-restores-count). It is a compiler barrier, so that the
    /// compiler moves no access out of the section that begins here.
    #[inline]
    pub fn preempt_disable(&self) {
        let count = self.preempt_count.load(Ordering::Relaxed);
        self.preempt_count.store(count + 1, Ordering::Relaxed);
        compiler_barrier();
    }

    /// Takes one off the preempt count of the running thread, whose head this is. It is a
    /// compiler barrier, so that the compiler moves no access out of the section that ends
    /// here.
    ///
    /// # Panics
    /// If the count is 0.
    ///
    /// # Safety
    /// It undoes a [`ThreadHead::preempt_disable`] of this thread, and no guard that relies
    /// on that call exists any more.
    #[inline]
    pub unsafe fn preempt_enable(&self) {
        compiler_barrier();
        let count = self.preempt_count.load(Ordering::Relaxed);
        assert!(
            count > 0,
            "BUG: preemption enabled more often than disabled"
        );
        self.preempt_count.store(count - 1, Ordering::Relaxed);
    }
}

/// Returns the head of the running thread.
///
/// # Context
/// After [`super::cpu_local::adopt_boot_cpu`] on the boot CPU; on
/// another CPU, anywhere in Rust.
#[inline]
pub fn current() -> &'static ThreadHead {
    let head = current_address();
    // SAFETY: SP_EL0 only ever holds the address of the head of the running thread, which
    // lives as long as that thread. `'static` is longer, but the thread itself runs the
    // code that holds the reference, so that code ends before the head does.
    unsafe { &*core::ptr::with_exposed_provenance::<ThreadHead>(head) }
}

/// Returns the value of `SP_EL0`; 0 before the boot CPU is adopted.
#[inline]
pub fn current_address() -> usize {
    let head: usize;
    // SAFETY: Reads a register.
    unsafe {
        asm!("mrs {head}, sp_el0", head = out(reg) head, options(nomem, nostack, preserves_flags));
    }
    head
}
