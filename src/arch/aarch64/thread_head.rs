//! What assembly and fault reports know of the running thread.
//!
//! `SP_EL0` is free in a kernel that never runs at EL0 and never on `SP_EL0`: it
//! holds the address of the running thread's [`ThreadHead`]. The register changes
//! together with the stack, in the context switch, so code that reads it gets its
//! own thread, whatever CPU it is on; no preemption can make the value stale.
//!
//! # Invariants
//!
//! - **own-preempt-count**: only the thread itself, or a handler that interrupts it on
//!   its CPU, writes its preempt count.
//! - **handler-restores-count**: a handler leaves the count as it found it. What a
//!   program runs in one is checked at the end of the interrupt.
//!
//! So a load, an addition and a store need not be one access: whatever comes
//! between them puts back what it changed. They are relaxed atomics, which cost
//! what plain ones do, because other CPUs may read the count to say which CPU holds
//! something up.

use core::arch::asm;
use core::mem::offset_of;
use core::ops::Range;

use super::exception::FRAME_SIZE;
use super::hint::compiler_barrier;
use crate::platform::ThreadName;
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The part of a thread that `SP_EL0` points to while it runs.
#[derive(Debug)]
#[repr(C)]
pub struct ThreadHead {
    preempt_count: AtomicU32,
    stack_bottom: AtomicUsize,
    stack_top: AtomicUsize,
    name: ThreadName,
    /// What the kernel knows the thread by: set before it runs, or by itself.
    word: AtomicUsize,
    #[cfg(debug_assertions)]
    held: crate::sync::HeldCell,
}

/// Keeps the layout that a debugger's script may rely on.
const _: () = assert!(offset_of!(ThreadHead, preempt_count) == 0);
const _: () = assert!(offset_of!(ThreadHead, stack_bottom) == 8);

impl ThreadHead {
    /// Returns the head of a thread called `name` on `stack`.
    ///
    /// * `preempt_count` — its preempt count when it first runs
    /// * `word` — what the kernel knows it by
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

    /// Returns what the kernel knows the thread by.
    #[inline]
    pub fn word(&self) -> usize {
        self.word.load(Ordering::Relaxed)
    }

    /// Sets what the kernel knows the thread by: by itself.
    ///
    /// # Safety
    /// `word` is what the kernel takes for the running thread from now on; this is the
    /// head of the running thread.
    pub unsafe fn set_word(&self, word: usize) {
        self.word.store(word, Ordering::Relaxed);
    }

    /// Returns what the thread holds, for the lock validator.
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

    /// Sets where the thread's stack is, while the thread doesn't run or hasn't
    /// been adopted.
    pub(super) fn set_stack(&self, stack: &Range<usize>) {
        self.stack_bottom.store(stack.start, Ordering::Relaxed);
        self.stack_top.store(stack.end, Ordering::Relaxed);
    }

    /// Returns the lowest SP at which an exception frame still fits the stack.
    pub fn stack_limit(&self) -> usize {
        self.stack().start + FRAME_SIZE
    }

    /// Returns the preempt count. Of another thread than the running one it may be old.
    #[inline]
    pub fn preempt_count(&self) -> u32 {
        self.preempt_count.load(Ordering::Relaxed)
    }

    /// Adds one to the preempt count of this, the running thread's head
    /// (own-preempt-count, handler-restores-count). A
    /// compiler barrier: nothing moves out of the section that this opens.
    #[inline]
    pub fn preempt_disable(&self) {
        let count = self.preempt_count.load(Ordering::Relaxed);
        self.preempt_count.store(count + 1, Ordering::Relaxed);
        compiler_barrier();
    }

    /// Takes one off the preempt count of this, the running thread's head. A
    /// compiler barrier.
    ///
    /// # Panics
    /// If the count is 0.
    ///
    /// # Safety
    /// It takes back a [`ThreadHead::preempt_disable`] of this thread for which no guard
    /// stands any more.
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
    // SAFETY: SP_EL0 is written with nothing but addresses of heads that live as
    // long as their thread, which is the one that runs this. `'static` is more
    // than that, but the reference can't outlive the code that holds it: the
    // thread is running that code.
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
