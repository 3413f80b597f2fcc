//! A call whose target doesn't take interrupts for long: its sender says so, waits
//! on, and has its answer in the end.
//!
//! SMP: 2
//! OUTPUT: CPU0 called, and CPUs 1 have not answered for 10 s$
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "support/ktap.rs"]
mod ktap;

#[cfg(target_os = "none")]
mod kernel_test {
    use core::time::Duration;

    use stillpoint::api;
    use stillpoint::cpu::CpuId;
    use stillpoint::kernel::Hw;
    use stillpoint::platform::Platform;
    use stillpoint::sync::{IrqGuard, LocalCpu};

    use crate::ktap::Ktap;

    pub(crate) fn main() {
        let target = CpuId::from_index(1);
        let holder = api::spawn_on(target, "holder", || {
            let _masked = IrqGuard::<Hw>::new();
            let until = Hw::deadline(Duration::from_secs(12));
            while Hw::now() < until {
                Hw::relax();
            }
        });
        let holder = holder.expect("a holder is started");
        api::sleep(Duration::from_secs(1));
        let answer = api::call_on(target, Hw::this_cpu);
        holder.join();
        let mut ktap = Ktap::plan(1);
        ktap.equal("it is answered in the end", answer, Ok(target));
        ktap.finish()
    }
}

#[cfg(target_os = "none")]
stillpoint::entry!(kernel_test::main);

#[cfg(not(target_os = "none"))]
fn main() {}
