//! A CPU for loom models in which no CPU sleeps in WFI.

use loom::thread;
use stillpoint::sync::{IrqFlags, LocalCpu};

/// No interrupts of its own: what an interrupt handler does, a thread of the model
/// does, at every moment at which the handler could and some more.
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
