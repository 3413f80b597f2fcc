//! A panic in a callback of hotplug, on the CPU that is to leave, in the middle of
//! a line: it has the console itself, and the hotplug lock is held by the thread
//! that waits for it. Virtual time, because it gives the other CPU 100 ms.
//!
//! SMP: 2
//! ICOUNT: 1
//! STATUS: 101
//! OUTPUT: ^CPU 1 says $
//! OUTPUT: ^kernel panic on CPU 1, thread doomed/1: no last words$
//! OUTPUT: ^  at tests/qemu_panic_callback\.rs:[0-9]+:[0-9]+$
//! OUTPUT: ^  #0  0x[0-9a-f]{16}  \+0x[0-9a-f]+$
//! OUTPUT: ^  CPUs 0 have stopped$
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
stillpoint::entry!(kernel_test::main);

#[cfg(target_os = "none")]
mod kernel_test {
    extern crate alloc;

    use alloc::sync::Arc;
    use core::fmt;

    use stillpoint::cpu::CpuId;
    use stillpoint::sched::Service;
    use stillpoint::start::{Hw, kernel};
    use stillpoint::{api, println};

    /// Can't be printed.
    struct LastWords;

    impl fmt::Display for LastWords {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no last words")
        }
    }

    /// Doesn't survive being parked.
    struct Doomed;

    impl Service<Hw> for Doomed {
        fn should_run(&self, _: CpuId) -> bool {
            false
        }

        fn run(&self, _: CpuId) {}

        fn park(&self, cpu: CpuId) {
            println!("CPU {cpu} says {LastWords}");
        }
    }

    pub(crate) fn main() {
        let registered = kernel()
            .hotplug
            .register_service("doomed", Arc::new(Doomed));
        assert!(registered.is_ok(), "no thread");
        let leaves = CpuId::new(1).expect("a small number");
        let left = api::cpu_down(leaves);
        assert!(left.is_ok(), "not even asked");
    }
}
