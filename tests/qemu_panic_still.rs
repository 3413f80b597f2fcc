//! A panic inside the still point: the CPUs that wait in it with their interrupts
//! masked are stopped too. Virtual time, because it gives them 100 ms.
//!
//! SMP: 4
//! ICOUNT: 1
//! STATUS: 101
//! OUTPUT: ^kernel panic on CPU 0, thread stopper/0: nothing else moves$
//! OUTPUT: ^  at tests/qemu_panic_still\.rs:[0-9]+:[0-9]+$
//! OUTPUT: ^  #0  0x[0-9a-f]{16}  \+0x[0-9a-f]+$
//! OUTPUT: ^  CPUs 1-3 have stopped$
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
stillpoint::entry!(kernel_test::main);

#[cfg(target_os = "none")]
mod kernel_test {
    use stillpoint::api;

    pub(crate) fn main() {
        let stopped = api::stop_machine(|| panic!("nothing else moves"));
        assert!(stopped.is_ok(), "not even stopped");
    }
}
