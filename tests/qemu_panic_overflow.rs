//! A stack that overflows runs into its guard page: a fault on another stack,
//! which names the thread.
//!
//! SMP: 4
//! STATUS: 101
//! OUTPUT: ^CPU 1, thread deep: synchronous exception$
//! OUTPUT: ^  data abort on a write, not mapped, level [0-3], address 0x[0-9a-f]+ \(the guard page of stack [0-9]+\)$
//! OUTPUT: ^  SP 0x[0-9a-f]+, the stack of the thread is 0x[0-9a-f]+-0x[0-9a-f]+: STACK OVERFLOW in thread deep$
//! OUTPUT:  pc  [0-9a-f]{16}$
//! OUTPUT: ^  #9  0x[0-9a-f]{16}  \+0x[0-9a-f]+$
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
stillpoint::entry!(kernel_test::main);

#[cfg(target_os = "none")]
mod kernel_test {
    use core::hint::black_box;

    use stillpoint::api;
    use stillpoint::cpu::CpuId;

    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 32]);
        if depth == u64::MAX {
            return 0;
        }
        deeper(depth + 1) + frame[31]
    }

    pub(crate) fn main() {
        let second = CpuId::new(1).expect("a small number");
        match api::spawn_on(second, "deep", || deeper(0)) {
            Ok(deep) => assert!(deep.join() > 0, "it came back"),
            Err(error) => panic!("no thread: {error}"),
        }
    }
}
