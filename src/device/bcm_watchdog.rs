//! Power-off and reset by the watchdog of the BCM2835 and its successors, the
//! Raspberry Pi's.
//!
//! The chip has no other way: it is reset by letting the watchdog run out, and what
//! firmware reads afterwards in RSTS says where to boot from. Partition 63 means
//! nowhere: firmware halts, with most of the chip off.
//!
//! # Sources
//! The block isn't documented. These facts are from Linux,
//! `drivers/watchdog/bcm2835_wdt.c` (the offsets, the password, the partition's bits,
//! what 63 means), and are what QEMU models (`hw/misc/bcm2835_powermgt.c`).

use tock_registers::LocalRegisterCopy;
use tock_registers::fields::Field;

/// The fields of the registers.
#[allow(
    missing_docs,
    reason = "the macro leaves constants of its own without a word"
)]
mod fields {
    use tock_registers::register_bitfields;

    register_bitfields! {u32,
        /// What the watchdog does when it has run out.
        pub RSTC [
            /// What must be written here, or nothing is.
            PASSWORD OFFSET(24) NUMBITS(8) [
                /// What opens the register.
                Key = 0x5a
            ],
            /// What is done.
            ACTION OFFSET(4) NUMBITS(2) [
                /// All of the chip is reset.
                FullReset = 0b10
            ],
        ],
        /// What firmware reads after a reset.
        pub RSTS [
            /// What must be written here, or nothing is.
            PASSWORD OFFSET(24) NUMBITS(8) [
                /// What opens the register.
                Key = 0x5a
            ],
        ],
        /// The watchdog's counter.
        pub WDOG [
            /// What must be written here, or nothing is.
            PASSWORD OFFSET(24) NUMBITS(8) [
                /// What opens the register.
                Key = 0x5a
            ],
            /// What is left, in ticks of 1/65536 s.
            TIME OFFSET(0) NUMBITS(20) [],
        ],
    }
}

pub use fields::{RSTC, RSTS, WDOG};

/// RSTS: the six bits of the partition, which are every second one from bit 0 on.
const PARTITION: Field<u32, RSTS::Register> = Field::new(0x555, 0);
/// Partition 63.
const HALT: u32 = 0x555;

/// Bytes of registers that are used, those in front of them counted.
pub const REGISTERS_SIZE: u64 = 0x28;

/// How long until the watchdog has run out, in its ticks of 1/65536 s: 62 ms, in
/// which a UART can send what is in its FIFO, 32 bytes at 9600 baud.
const DELAY: u32 = 0x1000;

/// How the machine is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Off, as far as this chip can be.
    PowerOff,
    /// Booted again, from where it was booted by default.
    Reset,
}

/// What is to be written, in the order of the fields. A word whose highest byte isn't
/// the password is not taken.
#[derive(Clone, Copy)]
pub struct LastWrites {
    /// RSTS.
    pub rsts: LocalRegisterCopy<u32, RSTS::Register>,
    /// WDOG.
    pub wdog: LocalRegisterCopy<u32, WDOG::Register>,
    /// RSTC, which starts it.
    pub rstc: LocalRegisterCopy<u32, RSTC::Register>,
}

/// Returns what ends the machine.
///
/// * `rsts`, `rstc` — what those two registers read
pub fn last_writes(
    ending: Ending,
    mut rsts: LocalRegisterCopy<u32, RSTS::Register>,
    mut rstc: LocalRegisterCopy<u32, RSTC::Register>,
) -> LastWrites {
    let partition = match ending {
        Ending::PowerOff => HALT,
        Ending::Reset => 0,
    };
    rsts.modify(RSTS::PASSWORD::Key + PARTITION.val(partition));
    let mut wdog = LocalRegisterCopy::new(0);
    wdog.modify(WDOG::PASSWORD::Key + WDOG::TIME.val(DELAY));
    rstc.modify(RSTC::PASSWORD::Key + RSTC::ACTION::FullReset);
    LastWrites { rsts, wdog, rstc }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the three words, with what both registers read.
    fn words(ending: Ending, rsts: u32, rstc: u32) -> [u32; 3] {
        let (rsts, rstc) = (LocalRegisterCopy::new(rsts), LocalRegisterCopy::new(rstc));
        let writes = last_writes(ending, rsts, rstc);
        [writes.rsts.get(), writes.wdog.get(), writes.rstc.get()]
    }

    #[test]
    fn power_off_is_a_reset_into_partition_63() {
        // What both read after power-on.
        let writes = words(Ending::PowerOff, 0x1000, 0x102);
        assert_eq!(writes, [0x5a00_1555, 0x5a00_1000, 0x5a00_0122]);
    }

    #[test]
    fn a_reset_forgets_the_partition() {
        let writes = words(Ending::Reset, 0x1555, 0x102);
        assert_eq!(writes, [0x5a00_1000, 0x5a00_1000, 0x5a00_0122]);
    }

    #[test]
    fn the_password_is_whole_whatever_was_read() {
        for ending in [Ending::PowerOff, Ending::Reset] {
            let writes = words(ending, u32::MAX, u32::MAX);
            assert!(writes.iter().all(|word| word >> 24 == 0x5a));
            assert_eq!(writes[2] >> 4 & 0b11, 0b10);
        }
    }
}
