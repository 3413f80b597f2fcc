//! How a started CPU says in its boot record why it can't come up, as one word.
//!
//! The word is for the checks that a CPU makes with its MMU on. A CPU that refuses itself
//! earlier writes the failure line of the record instead ([`crate::coherency::pen`]).

use crate::cpu::Mpidr;
use crate::hotplug::{ApRefusal, Life};
use crate::platform::IrqChipError;

/// The lowest bit of the life's number in the word. The reason is in the bits below it.
const LIFE_SHIFT: u32 = 24;

/// Why a CPU refuses itself after its MMU is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateRefusal {
    /// See [`ApRefusal::WrongMpidr`].
    WrongMpidr,
    /// See [`ApRefusal::IrqChip`].
    IrqChip(IrqChipError),
}

impl From<LateRefusal> for ApRefusal {
    fn from(refusal: LateRefusal) -> Self {
        match refusal {
            LateRefusal::WrongMpidr => ApRefusal::WrongMpidr,
            LateRefusal::IrqChip(error) => ApRefusal::IrqChip(error),
        }
    }
}

/// Returns the word for `refusal` in the CPU's life with the number `life`. It is never 0.
pub fn encode_refusal(life: u32, refusal: LateRefusal) -> u32 {
    let code = match refusal {
        LateRefusal::WrongMpidr => 1,
        LateRefusal::IrqChip(error) => match error {
            IrqChipError::NoRedistributor(_) => 2,
            IrqChipError::RedistributorAsleep(_) => 3,
            IrqChipError::NoSystemRegisters => 4,
            IrqChipError::PrioritiesUnusable => 5,
            IrqChipError::NoCpuInterface(_) => 6,
            IrqChipError::SgisReserved(_) => 7,
            IrqChipError::StaleRunningPriority(priority) => 0x100 | u32::from(priority),
        },
    };
    code | life << LIFE_SHIFT
}

/// Returns the life and the refusal that `word` stands for, in the boot record of the CPU
/// with the affinity `mpidr`. `word` isn't 0.
pub fn decode_refusal(mpidr: Mpidr, word: u32) -> (Life, ApRefusal) {
    let life = Life::from_number(word >> LIFE_SHIFT);
    let code = word & ((1 << LIFE_SHIFT) - 1);
    let [low, ..] = code.to_le_bytes();
    let refusal = match code {
        1 => ApRefusal::WrongMpidr,
        2 => ApRefusal::IrqChip(IrqChipError::NoRedistributor(mpidr)),
        3 => ApRefusal::IrqChip(IrqChipError::RedistributorAsleep(mpidr)),
        4 => ApRefusal::IrqChip(IrqChipError::NoSystemRegisters),
        5 => ApRefusal::IrqChip(IrqChipError::PrioritiesUnusable),
        6 => ApRefusal::IrqChip(IrqChipError::NoCpuInterface(mpidr)),
        7 => ApRefusal::IrqChip(IrqChipError::SgisReserved(mpidr)),
        0x100..0x200 => ApRefusal::IrqChip(IrqChipError::StaleRunningPriority(low)),
        other => ApRefusal::Unknown(other),
    };
    (life, refusal)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_as_it_was_written() {
        let mpidr = Mpidr::from_register(0x0102);
        for refusal in [
            LateRefusal::WrongMpidr,
            LateRefusal::IrqChip(IrqChipError::NoRedistributor(mpidr)),
            LateRefusal::IrqChip(IrqChipError::RedistributorAsleep(mpidr)),
            LateRefusal::IrqChip(IrqChipError::StaleRunningPriority(0)),
            LateRefusal::IrqChip(IrqChipError::StaleRunningPriority(0xff)),
            LateRefusal::IrqChip(IrqChipError::PrioritiesUnusable),
            LateRefusal::IrqChip(IrqChipError::NoSystemRegisters),
            LateRefusal::IrqChip(IrqChipError::NoCpuInterface(mpidr)),
            LateRefusal::IrqChip(IrqChipError::SgisReserved(mpidr)),
        ] {
            for life in [1, Life::LAST] {
                let word = encode_refusal(life, refusal);
                assert_ne!(word, 0, "{refusal:?}");
                let read = (Life::from_number(life), refusal.into());
                assert_eq!(decode_refusal(mpidr, word), read);
            }
        }
    }

    #[test]
    fn a_word_without_a_meaning_keeps_its_code() {
        let mpidr = Mpidr::from_register(0);
        for code in [8, 0xff, 0x200] {
            let read = decode_refusal(mpidr, code | 5 << LIFE_SHIFT);
            assert_eq!(read, (Life::from_number(5), ApRefusal::Unknown(code)));
        }
    }
}
