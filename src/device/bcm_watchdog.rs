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

/// Offset of the register that says what the watchdog does when it has run out.
pub const RSTC: usize = 0x1c;
/// Offset of the register that firmware reads after a reset.
pub const RSTS: usize = 0x20;
/// Offset of the watchdog's counter.
pub const WDOG: usize = 0x24;

/// Bytes of registers that are used, those in front of them counted.
pub const REGISTERS_SIZE: u64 = 0x28;

/// What the highest byte of a written word must be; else nothing is written.
const PASSWORD: u32 = 0x5a00_0000;
/// The bits that aren't the password.
const VALUE: u32 = 0x00ff_ffff;

/// RSTC: what is done at the end.
const ACTION: u32 = 0b11 << 4;
/// RSTC: all of the chip is reset.
const FULL_RESET: u32 = 0b10 << 4;

/// RSTS: the six bits of the partition, which are every second one from bit 0 on.
const PARTITION: u32 = 0x555;
/// RSTS: partition 63.
const HALT: u32 = PARTITION;

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

/// What is to be written, in this order: offsets and values.
///
/// * `rsts`, `rstc` — what those two registers read
pub const fn ending(ending: Ending, rsts: u32, rstc: u32) -> [(usize, u32); 3] {
    let partition = match ending {
        Ending::PowerOff => HALT,
        Ending::Reset => 0,
    };
    [
        (RSTS, PASSWORD | rsts & VALUE & !PARTITION | partition),
        (WDOG, PASSWORD | DELAY),
        (RSTC, PASSWORD | rstc & VALUE & !ACTION | FULL_RESET),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What both registers read after power-on.
    const AT_POWER_ON: (u32, u32) = (0x1000, 0x102);

    #[test]
    fn power_off_is_a_reset_into_partition_63() {
        let (rsts, rstc) = AT_POWER_ON;
        let writes = ending(Ending::PowerOff, rsts, rstc);
        let expected = [
            (0x20, 0x5a00_1555),
            (0x24, 0x5a00_1000),
            (0x1c, 0x5a00_0122),
        ];
        assert_eq!(writes, expected);
    }

    #[test]
    fn a_reset_forgets_the_partition() {
        let (_, rstc) = AT_POWER_ON;
        let writes = ending(Ending::Reset, 0x1555, rstc);
        let expected = [
            (0x20, 0x5a00_1000),
            (0x24, 0x5a00_1000),
            (0x1c, 0x5a00_0122),
        ];
        assert_eq!(writes, expected);
    }

    #[test]
    fn the_password_is_whole_whatever_was_read() {
        for kind in [Ending::PowerOff, Ending::Reset] {
            for (_, value) in ending(kind, u32::MAX, u32::MAX) {
                assert_eq!(value >> 24, 0x5a);
            }
            let [_, _, (_, rstc)] = ending(kind, u32::MAX, u32::MAX);
            assert_eq!(rstc & ACTION, FULL_RESET);
        }
    }
}
