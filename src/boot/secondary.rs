//! The first code in Rust on a started CPU: the checks that may fail before it says ALIVE.

use crate::arch::aarch64::boot_record::BootRecord;
use crate::arch::aarch64::cpu;
use crate::config::PMR_CLOSED;
use crate::cpu::CpuId;
use crate::hotplug::{HotplugHost, LateRefusal, encode_refusal};
use crate::kernel::Hw;
use crate::kernel::kernel;
use crate::kernel::test_hooks;
use crate::platform::Platform;
use crate::sync::atomic::Ordering;

/// Brings this CPU up to ALIVE. `secondary_entry` calls it with the MMU on, on the idle
/// thread's stack, in the CPU's life `life`.
#[unsafe(no_mangle)]
extern "C" fn stillpoint_secondary(record: &'static BootRecord, life: u32) -> ! {
    let kernel = kernel();
    let cpu = Hw::this_cpu();
    let arrived = check(cpu).and_then(|()| {
        kernel
            .irq_chip
            .early_init_cpu(cpu)
            .map_err(LateRefusal::IrqChip)
    });
    if let Err(refusal) = arrived {
        // Pairs with the Acquire in `HotplugHost::refusal`.
        let word = encode_refusal(life, refusal);
        record.handshake.reason.store(word, Ordering::Release);
        kernel.irq_chip.disable_refused_interface();
        Hw::cpu_off(cpu);
    }
    kernel.irq_chip.set_priority_mask(PMR_CLOSED);
    Hw::hotplug().arrive(cpu)
}

/// Checks that this is the CPU that was started: some firmware passes a wrong context.
///
/// # Errors
/// [`LateRefusal::WrongMpidr`].
fn check(cpu: CpuId) -> Result<(), LateRefusal> {
    if cpu::mpidr() == kernel().mpidrs[cpu.index()] && !test_hooks::takes_refusal(cpu) {
        Ok(())
    } else {
        Err(LateRefusal::WrongMpidr)
    }
}
