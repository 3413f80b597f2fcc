//! Why a started CPU can't come up, as one word of its boot record.

use crate::cpu::{CpuId, Mpidr};
use crate::hotplug::{ApRefusal, Life};
use crate::kernel::kernel;
use crate::platform::IrqChipError;

/// The lowest bit of the life's number in the word; the reason is below it.
const LIFE_SHIFT: u32 = 24;

/// Returns the word for `refusal` in the CPU's life `life`. It is never 0.
pub(crate) fn encode_refusal(life: u32, refusal: ApRefusal) -> u32 {
    let code = match refusal {
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
    };
    code | life << LIFE_SHIFT
}

/// Returns the life and the refusal that `word` of `cpu`'s boot record stands for. `word`
/// isn't 0.
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
