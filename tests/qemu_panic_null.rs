//! Nothing is mapped at 0: a read of it, by the CPU that leaves, is told in words.
//!
//! The reader runs in the still point on a secondary CPU.
//!
//! SMP: 4
//! STATUS: 101
//! OUTPUT: ^CPU 1, thread stopper/1: synchronous exception$
//! OUTPUT: ^  data abort on a read, not mapped, level [0-3], address 0x0$
//! OUTPUT: ^  SP 0x[0-9a-f]+, the stack of the thread is 0x[0-9a-f]+-0x[0-9a-f]+$
//! OUTPUT:  pc  [0-9a-f]{16}$
//! OUTPUT: ^  #0  0x[0-9a-f]{16}  \+0x[0-9a-f]+$
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
stillpoint::entry!(kernel_test::main);

#[cfg(target_os = "none")]
mod kernel_test {
    use core::arch::asm;

    use stillpoint::cpu::CpuId;
    use stillpoint::start::kernel;

    fn read_null() {
        // SAFETY: Nothing is read: nothing is mapped there, and the fault ends the
        // kernel.
        unsafe { asm!("ldr {value}, [{null}]", value = out(reg) _, null = in(reg) 0_usize) };
    }

    pub(crate) fn main() {
        let reader = CpuId::new(1).expect("a small number");
        let _held = kernel().hotplug.lock();
        let still = kernel().stop_machine.lock();
        let stopped = kernel().stop_machine.stop_on(&still, reader, read_null);
        assert!(stopped.is_ok(), "not even stopped");
    }
}
