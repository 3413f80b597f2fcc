//! Power-off and reset by the watchdog of the BCM2835 and its successors, the chips of
//! the Raspberry Pi.
//!
//! The chip can be reset only by letting the watchdog run out. Firmware then reads in
//! RSTS which partition to boot from. Partition 63 means none: firmware halts, with most
//! of the chip off.
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
    reason = "the macro makes constants that it doesn't document"
)]
mod fields {
    use tock_registers::register_bitfields;

    register_bitfields! {u32,
        /// The action that the watchdog takes when it has run out.
        pub RSTC [
            /// The password; a write without it is ignored.
            PASSWORD OFFSET(24) NUMBITS(8) [
                /// The password's value.
                Key = 0x5a
            ],
            /// The action.
            ACTION OFFSET(4) NUMBITS(2) [
                /// The whole chip is reset.
                FullReset = 0b10
            ],
        ],
        /// The status that firmware reads after a reset.
        pub RSTS [
            /// The password; a write without it is ignored.
            PASSWORD OFFSET(24) NUMBITS(8) [
                /// The password's value.
                Key = 0x5a
            ],
        ],
        /// The watchdog's counter.
        pub WDOG [
            /// The password; a write without it is ignored.
            PASSWORD OFFSET(24) NUMBITS(8) [
                /// The password's value.
                Key = 0x5a
            ],
            /// The remaining time, in ticks of 1/65536 s.
            TIME OFFSET(0) NUMBITS(20) [],
        ],
    }
}

pub use fields::{RSTC, RSTS, WDOG};

/// RSTS: the six bits of the partition, which are bits 0, 2, 4, 6, 8 and 10.
const PARTITION: Field<u32, RSTS::Register> = Field::new(0x555, 0);
/// Partition 63, as RSTS spreads its bits.
const HALT: u32 = 0x555;

/// Size in bytes of the registers from the first one to the end of the last one used.
pub const REGISTERS_SIZE: u64 = 0x28;

/// How long until the watchdog runs out, in its ticks of 1/65536 s: 62 ms, in
/// which a UART can send the contents of its FIFO, 32 bytes at 9600 baud.
const DELAY: u32 = 0x1000;

/// How the machine is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Off, as far as this chip can be.
    PowerOff,
    /// Booted again, from the default partition.
    Reset,
}

/// The values to write to the registers, in the order of the fields. The chip ignores a
/// word whose highest byte isn't the password.
#[derive(Clone, Copy)]
pub struct LastWrites {
    /// The value for RSTS.
    pub rsts: LocalRegisterCopy<u32, RSTS::Register>,
    /// The value for WDOG.
    pub wdog: LocalRegisterCopy<u32, WDOG::Register>,
    /// The value for RSTC, whose write starts the watchdog.
    pub rstc: LocalRegisterCopy<u32, RSTC::Register>,
}

/// Returns the writes that end the machine as `ending` says.
///
/// * `rsts`, `rstc` — the present values of those two registers
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

    /// Returns the three words to write, for these values of both registers.
    fn words(ending: Ending, rsts: u32, rstc: u32) -> [u32; 3] {
        let (rsts, rstc) = (LocalRegisterCopy::new(rsts), LocalRegisterCopy::new(rstc));
        let writes = last_writes(ending, rsts, rstc);
        [writes.rsts.get(), writes.wdog.get(), writes.rstc.get()]
    }

    #[test]
    fn power_off_is_a_reset_into_partition_63() {
        // The values of both registers after power-on.
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
