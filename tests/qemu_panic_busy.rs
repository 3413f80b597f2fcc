//! A panic ends the kernel though nobody waits for it: one CPU computes, one has
//! the console and interrupts masked for ever, one idles.
//!
//! The panic gives up on the one that it can't reach, and takes the console from
//! it. Virtual time, because it gives the others 100 ms.
//!
//! SMP: 4
//! ICOUNT: 1
//! STATUS: 101
//! OUTPUT: ^kernel panic on CPU 0, thread main: all is lost$
//! OUTPUT: ^  at tests/qemu_panic_busy\.rs:[0-9]+:[0-9]+$
//! OUTPUT: ^  #0  0x[0-9a-f]{16}  \+0x[0-9a-f]+$
//! OUTPUT: ^  #1  0x[0-9a-f]{16}  \+0x[0-9a-f]+$
//! OUTPUT: ^  CPUs 1,3 have stopped$
//! OUTPUT: ^  CPUs 2 did not stop within 100 ms$
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
stillpoint::entry!(kernel_test::main);

#[cfg(target_os = "none")]
mod kernel_test {
    use core::fmt;

    use stillpoint::cpu::CpuId;
    use stillpoint::start::Hw;
    use stillpoint::sync::Exec;
    use stillpoint::sync::atomic::{AtomicU32, Ordering};
    use stillpoint::{api, print};

    /// How many CPUs are where they are to be.
    static READY: AtomicU32 = AtomicU32::new(0);

    fn loop_for_ever() -> ! {
        READY.fetch_add(1, Ordering::Relaxed);
        loop {
            Hw::relax();
        }
    }

    /// Never ends being printed: whoever prints it keeps the console.
    struct Endless;

    impl fmt::Display for Endless {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            assert!(!Hw::irqs_enabled(), "the console masks interrupts");
            loop_for_ever()
        }
    }

    pub(crate) fn main() {
        let cpu = |number| CpuId::new(number).expect("a small number");
        let computes = api::spawn_on(cpu(1), "computes", || loop_for_ever());
        let prints = api::spawn_on(cpu(2), "prints", || print!("{Endless}"));
        assert!(computes.is_ok() && prints.is_ok(), "no thread");
        while READY.load(Ordering::Relaxed) < 2 {
            api::yield_now();
        }
        panic!("all is lost");
    }
}
