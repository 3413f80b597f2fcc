//! The CPU of unit tests that need one for their locks only.

use core::num::NonZeroUsize;

use crate::sync::{IrqFlags, LocalCpu};

/// A machine on which nothing is but the lock that a test takes.
#[derive(Debug)]
pub(crate) struct Nowhere;

impl LocalCpu for Nowhere {
    fn irq_save() -> IrqFlags {
        IrqFlags(0)
    }
    unsafe fn irq_restore(_: IrqFlags) {}
    unsafe fn irq_enable() {}
    fn irqs_enabled() -> bool {
        false
    }
    fn preempt_disable() {}
    unsafe fn preempt_enable_no_resched() {}
    fn preempt_count() -> u32 {
        0
    }
    fn preempt_point() {}
    fn relax() {}
    fn cpu_mark() -> NonZeroUsize {
        NonZeroUsize::MIN
    }
}
