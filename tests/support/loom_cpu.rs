//! CPUs for loom models: each model thread is one, WFI is a condition variable,
//! the wake SGI a pending bit.

use std::cell::Cell;

use loom::sync::{Condvar, Mutex};
use stillpoint::config::MASK_WORDS;
use stillpoint::sync::{IrqFlags, LocalCpu, Wait, Woken};

/// The most CPUs of a model.
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
    /// Says which CPU the running model thread is.
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
    /// Unmasking takes nothing by itself: a core may still be about to take it when
    /// IRQs are masked again.
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
    /// WFI: returns when a wake SGI is pending. Doesn't take it.
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

    /// The handler takes the wake SGI.
    fn serve_interrupts() {
        let _woken = Self::take_wake();
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
