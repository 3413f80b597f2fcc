//! A CPU for loom models in which no CPU sleeps in WFI.

use loom::thread;
use stillpoint::sync::{IrqFlags, LocalCpu};

/// A CPU without interrupts. A thread of the model does what an interrupt handler would
/// do, at every moment at which the handler could run, and at others.
pub(crate) struct Cpu;

impl LocalCpu for Cpu {
    fn irq_save() -> IrqFlags {
        IrqFlags(0)
    }
    unsafe fn irq_restore(_: IrqFlags) {}
    unsafe fn irq_enable() {}
    fn irqs_enabled() -> bool {
        true
    }
    fn preempt_disable() {}
    unsafe fn preempt_enable_no_resched() {}
    fn preempt_count() -> u32 {
        0
    }
    fn preempt_point() {}
    fn relax() {
        thread::yield_now();
    }
}
