//! CPUs for loom models. Each thread of the model is a CPU, WFI waits for a condition
//! variable, and the wake SGI is a pending bit.

use std::cell::Cell;

use loom::sync::{Condvar, Mutex};
use stillpoint::config::MASK_WORDS;
use stillpoint::sync::{IrqFlags, LocalCpu, Wait, Woken};

/// How many CPUs a model has at most.
pub(crate) const CPUS: usize = 4;

loom::lazy_static! {
    static ref WAKE: (Mutex<[bool; CPUS]>, Condvar) = (Mutex::new([false; CPUS]), Condvar::new());
}

loom::thread_local! {
    static THIS: Cell<usize> = Cell::new(0);
}

/// The platform of a model.
pub(crate) struct Cpu;

impl Cpu {
    /// Makes the calling thread of the model CPU `cpu`.
    pub(crate) fn become_cpu(cpu: usize) {
        THIS.with(|this| this.set(cpu));
    }

    fn this() -> usize {
        THIS.with(Cell::get)
    }
}

impl LocalCpu for Cpu {
    fn irq_save() -> IrqFlags {
        IrqFlags(0)
    }
    /// Takes no interrupt: a core need not take a pending interrupt before IRQs are masked
    /// again.
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
        loom::thread::yield_now();
    }
}

impl Wait for Cpu {
    /// Returns when a wake SGI is pending, and doesn't take it, as WFI.
    fn sleep() {
        let mut pending = WAKE.0.lock().expect("never poisoned");
        while !pending[Self::this()] {
            pending = WAKE.1.wait(pending).expect("never poisoned");
        }
    }

    fn take_wake() -> Woken {
        WAKE.0.lock().expect("never poisoned")[Self::this()] = false;
        Woken::Other
    }

    /// Takes the wake SGI, as the interrupt handler does.
    fn serve_interrupts() {
        let _woken = Self::take_wake();
    }

    fn interrupt_is_pending() -> bool {
        WAKE.0.lock().expect("never poisoned")[Self::this()]
    }

    fn send_wake(cpus: &[u64; MASK_WORDS]) {
        let mut pending = WAKE.0.lock().expect("never poisoned");
        for cpu in 0..CPUS {
            if cpus[0] & (1 << cpu) != 0 {
                pending[cpu] = true;
            }
        }
        WAKE.1.notify_all();
    }
}
