//! A machine that hangs says where its CPUs are: by the panic SGI as long as one CPU
//! still asks, and by QEMU's monitor when none does. The runner takes it for timed out
//! at the line `hangs now`.
//!
//! SMP: 4
//! CASES: running still masked
//! HANGS: ^hangs now$
//!
//! One CPU computes, one has masked its interrupts, one idles: the second can't answer.
//! CASE: running
//! OUTPUT: ^CPU 0, thread main:$
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  .*print_whereabouts\+0x
//! OUTPUT: ^CPU 1, thread computes:$
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::kernel_test::computes\+0x
//! OUTPUT: ^CPU 2, thread masked: does not answer
//! OUTPUT: ^CPU 3, thread idle/3:$
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  stillpoint::sched::scheduler::.*idle
//! OUTPUT: ^all have answered: false$
//! Asked from inside the still point: those that wait there answer.
//! CASE: still
//! OUTPUT: ^CPU 0, thread stopper/0:$
//! OUTPUT: ^CPU 1, thread stopper/1:$
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  <?stillpoint::stop_machine::
//! OUTPUT: ^CPU 2, thread stopper/2:$
//! OUTPUT: ^CPU 3, thread stopper/3:$
//! OUTPUT: ^all have answered: true$
//!
//! CASE: .*
//! OUTPUT: ^hangs now$
//! CASE: running
//! OUTPUT: ^where: CPU 0, interrupts on$
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::kernel_test::hangs\+0x
//! OUTPUT: ^where: CPU 1, interrupts on$
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::kernel_test::computes\+0x
//! OUTPUT: ^where: CPU 2, interrupts masked$
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::kernel_test::masked\+0x
//! OUTPUT: ^where: CPU 3, interrupts
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  stillpoint::sched::scheduler::.*idle
//! CASE: still
//! OUTPUT: ^where: CPU 0, interrupts masked$
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::kernel_test::hangs\+0x
//! OUTPUT: ^where: CPU 3, interrupts masked$
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  <?stillpoint::stop_machine::
//! No CPU is left that could ask.
//! CASE: masked
//! OUTPUT: ^where: CPU 0, interrupts masked$
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::kernel_test::hangs\+0x
//! OUTPUT: ^where: CPU 1, interrupts masked$
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::kernel_test::masked\+0x
//! OUTPUT: ^where: CPU 3, interrupts masked$
//! OUTPUT: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_hang::kernel_test::masked\+0x
#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(kernel_test::main);

mod kernel_test {
    use stillpoint::cpu::CpuId;
    use stillpoint::kernel::{Hw, print_whereabouts};
    use stillpoint::sync::atomic::{AtomicU32, Ordering};
    use stillpoint::sync::{IrqGuard, LocalCpu};
    use stillpoint::{api, println};

    use kernel_support::case::case;

    /// How many CPUs are where they are to be.
    static READY: AtomicU32 = AtomicU32::new(0);

    #[inline(never)]
    fn computes() {
        READY.fetch_add(1, Ordering::Relaxed);
        loop {
            Hw::relax();
        }
    }

    #[inline(never)]
    fn masked() {
        let _masked = IrqGuard::<Hw>::new();
        READY.fetch_add(1, Ordering::Relaxed);
        loop {
            Hw::relax();
        }
    }

    #[inline(never)]
    fn hangs() {
        println!("hangs now");
        loop {
            Hw::relax();
        }
    }

    fn on(cpu: usize, name: &str, body: fn()) {
        let cpu = CpuId::new(cpu).expect("a small number");
        assert!(api::spawn_on(cpu, name, body).is_ok(), "no thread");
    }

    fn wait_for(ready: u32) {
        while READY.load(Ordering::Relaxed) < ready {
            api::yield_now();
        }
    }

    pub(crate) fn main() {
        match case() {
            "running" => {
                on(1, "computes", computes);
                on(2, "masked", masked);
                wait_for(2);
                println!("all have answered: {}", print_whereabouts());
                hangs();
            }
            "still" => {
                let stopped = api::stop_machine(|| {
                    println!("all have answered: {}", print_whereabouts());
                    hangs();
                });
                assert!(stopped.is_ok(), "not even stopped");
            }
            "masked" => {
                (1..4).for_each(|cpu| on(cpu, "masked", masked));
                wait_for(3);
                let _masked = IrqGuard::<Hw>::new();
                hangs();
            }
            _ => {}
        }
        panic!("no such case, or nothing has happened");
    }
}
