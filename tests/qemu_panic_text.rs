//! Code can't be written: the fault is told in words, with the place in the code,
//! registers and a backtrace.
//!
//! SMP: 1 4
//! STATUS: 101
//! OUTPUT: ^CPU 0, thread main: synchronous exception$
//! OUTPUT: ^  data abort on a write, permission denied, level [0-3], address 0x[0-9a-f]+ \(code \+0x[0-9a-f]+\)$
//! OUTPUT: ^  ESR 0x00000000960000[0-9a-f]{2}  FAR 0x[0-9a-f]{16}  SPSR 0x[0-9a-f]+$
//! OUTPUT: ^  SP 0x[0-9a-f]+, the stack of the thread is 0x[0-9a-f]+-0x[0-9a-f]+$
//! OUTPUT: ^  x0  [0-9a-f]{16}
//! OUTPUT:  pc  [0-9a-f]{16}$
//! OUTPUT: ^  #0  0x[0-9a-f]{16}  \+0x[0-9a-f]+$
//! OUTPUT: ^  #1  0x[0-9a-f]{16}  \+0x[0-9a-f]+$
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
stillpoint::entry!(kernel_test::main);

#[cfg(target_os = "none")]
mod kernel_test {
    use core::arch::asm;

    pub(crate) fn main() {
        let code = (main as *const ()).addr();
        // SAFETY: Nothing is written: the page is not writable, and the fault
        // ends the kernel.
        unsafe { asm!("str wzr, [{code}]", code = in(reg) code) };
    }
}
