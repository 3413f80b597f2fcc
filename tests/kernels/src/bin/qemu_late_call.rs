//! A call whose target doesn't take interrupts for long: its sender logs that, goes on
//! waiting, and gets its answer in the end.

//@ smp: 2
//@ output: CPU0 called, and CPUs 1 have not answered for 10 s$

#![no_std]
#![no_main]

use core::time::Duration;

use stillpoint::api;
use stillpoint::cpu::CpuId;
use stillpoint::kernel::Hw;
use stillpoint::platform::Platform;
use stillpoint::sync::{IrqGuard, LocalCpu};

use kernel_support::ktap::Ktap;

fn main() {
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
    let mut ktap = Ktap::new();
    ktap.equal("it is answered in the end", answer, Ok(target));
    ktap.finish()
}

stillpoint::entry!(main);
