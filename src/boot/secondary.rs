//! A started CPU's first Rust: what may still fail, before it says ALIVE.

use crate::arch::aarch64::boot_record::BootRecord;
use crate::arch::aarch64::cpu;
use crate::config::PMR_CLOSED;
use crate::cpu::{CpuId, Mpidr};
use crate::hotplug::{ApRefusal, HotplugHost, Life};
use crate::platform::{IrqChipError, Platform};
use crate::start::Hw;
use crate::start::kernel::kernel;
use crate::sync::atomic::Ordering;

/// Where `secondary_entry` goes with the MMU on, on the idle thread's stack.
#[unsafe(no_mangle)]
extern "C" fn stillpoint_secondary(record: &'static BootRecord, life: u32) -> ! {
    let kernel = kernel();
    let cpu = Hw::this_cpu();
    let arrived = check(cpu).and_then(|()| {
        kernel
            .irq_chip
            .early_init_cpu(cpu)
            .map_err(ApRefusal::IrqChip)
    });
    if let Err(refusal) = arrived {
        // Pairs with the Acquire in `HotplugHost::refusal`.
        let word = encode_refusal(refusal) | life << LIFE_SHIFT;
        record.handshake.reason.store(word, Ordering::Release);
        kernel.irq_chip.disable_refused_interface();
        Hw::cpu_off(cpu);
    }
    kernel.irq_chip.set_priority_mask(PMR_CLOSED);
    Hw::hotplug().arrive(cpu)
}

/// Whether this is the CPU that was called: some firmware passes junk.
fn check(cpu: CpuId) -> Result<(), ApRefusal> {
    if cpu::mpidr() == kernel().mpidrs[cpu.index()] && !Hw::takes_refusal(cpu) {
        Ok(())
    } else {
        Err(ApRefusal::WrongMpidr)
    }
}

/// Where the life stands in the boot record's word, above the reason.
const LIFE_SHIFT: u32 = 24;

/// A refusal as the lower part of one word of the boot record, never 0.
fn encode_refusal(refusal: ApRefusal) -> u32 {
    match refusal {
        ApRefusal::WrongMpidr => 1,
        ApRefusal::IrqChip(IrqChipError::NoRedistributor(_)) => 2,
        ApRefusal::IrqChip(IrqChipError::RedistributorAsleep(_)) => 3,
        ApRefusal::IrqChip(IrqChipError::NoSystemRegisters) => 4,
        ApRefusal::IrqChip(IrqChipError::PrioritiesUnusable) => 5,
        ApRefusal::IrqChip(IrqChipError::StaleRunningPriority(priority)) => {
            0x100 | u32::from(priority)
        }
        ApRefusal::Granule => 6,
        ApRefusal::PhysicalRange => 7,
        ApRefusal::IrqChip(IrqChipError::NoCpuInterface(_)) => 8,
        ApRefusal::IrqChip(IrqChipError::SgisReserved(_)) => 9,
        ApRefusal::ExceptionLevel(level) => 0x200 | level,
        ApRefusal::Unknown(code) => code.clamp(1, (1 << LIFE_SHIFT) - 1),
    }
}

/// The inverse, on the control CPU.
pub(super) fn decode_refusal(cpu: CpuId, word: u32) -> (Life, ApRefusal) {
    let life = Life::from_number(word >> LIFE_SHIFT);
    let code = word & ((1 << LIFE_SHIFT) - 1);
    let mpidr: Mpidr = kernel().mpidrs[cpu.index()];
    let [low, ..] = code.to_le_bytes();
    let refusal = match code {
        1 => ApRefusal::WrongMpidr,
        2 => ApRefusal::IrqChip(IrqChipError::NoRedistributor(mpidr)),
        3 => ApRefusal::IrqChip(IrqChipError::RedistributorAsleep(mpidr)),
        4 => ApRefusal::IrqChip(IrqChipError::NoSystemRegisters),
        5 => ApRefusal::IrqChip(IrqChipError::PrioritiesUnusable),
        8 => ApRefusal::IrqChip(IrqChipError::NoCpuInterface(mpidr)),
        9 => ApRefusal::IrqChip(IrqChipError::SgisReserved(mpidr)),
        0x100..0x200 => ApRefusal::IrqChip(IrqChipError::StaleRunningPriority(low)),
        other => ApRefusal::Unknown(other),
    };
    (life, refusal)
}
