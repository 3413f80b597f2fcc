//! CPU_ON refused: the device tree lists a fifth CPU, which QEMU doesn't have, and a
//! region of redistributors where nothing answers.

//@ smp: 4
//@ gic: 3
//@ dtb: dts/virt-gicv3-smp4-ghost.dts
//@ output: error: CPU4 UP state prep:hardware failed: CPU_ON refused: PSCI INVALID_PARAMETERS \(-2\) \(EINVAL\)
//@ output: Brought up 4 of 5 CPUs

#![no_std]
#![no_main]

stillpoint::entry!(main);

use kernel_support::ktap::Ktap;
use kernel_support::unharmed::{cpu as cpu_of, unharmed};
use stillpoint::api::{self, cpu};
use stillpoint::cpu::CpuMask;
use stillpoint::hotplug::{CpuHealth, CpuUpError, StepError};
use stillpoint::kernel::kernel;
use stillpoint::platform::PsciError;

fn main() {
    let ghost = cpu_of(4);
    let kernel = kernel();
    let mut ktap = Ktap::new();
    ktap.equal("five are possible", kernel.masks.possible().count(), 5);
    ktap.equal("four came up", kernel.masks.online(), CpuMask::first_n(4));
    let refused = CpuUpError::Step {
        cpu: ghost,
        step: "prep:hardware".into(),
        error: StepError::Psci(PsciError::InvalidParameters),
    };
    for _ in 0..2 {
        ktap.equal("CPU_ON is refused", api::cpu_up(ghost), Err(refused));
        ktap.equal(
            "the ghost is refused",
            kernel.hotplug.health(ghost),
            CpuHealth::Refused(PsciError::InvalidParameters),
        );
        ktap.equal("four are present", cpu::present(), CpuMask::first_n(4));
    }
    ktap.equal("as EINVAL", refused.errno().name(), "EINVAL");
    ktap.equal("down it is already", api::cpu_down(ghost), Ok(()));
    ktap.check("the machine is unharmed", unharmed(ghost));
    ktap.finish();
}
