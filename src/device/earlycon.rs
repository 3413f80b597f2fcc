//! `earlycon=`: a console that is named by its kind and address, as Linux names it.
//!
//! The driver writes its built-in consoles with the same syntax, and they are parsed at compile
//! time, so the parser is `const`.
//!
//! | | |
//! |---|---|
//! | `pl011,0x9000000`, `pl011,mmio32,0x9000000` | Arm's PL011 |
//! | `sbsa-uart,0x9000000` | the part of a PL011 that SBSA asks for |
//! | `uart8250,mmio,0x3f8`, `uart8250,0x3f8` | a 16550 with registers of a byte |
//! | `uart8250,mmio32,0x10000000` | a 16550 with registers of a word |
//! | `uart,mmio,0x3f8` and so on | the same (Firecracker's word for it) |
//! | `bcm2835aux,0xfe215040` | the BCM2835's mini UART |
//!
//! The parser ignores what follows the address behind another comma: a baud rate, which
//! firmware has set.
//!
//! The named UART may not exist. A register that can be read without side effects tells
//! ([`EarlyConKind::status_register`]).
//!
//! # Sources
//! Linux, `Documentation/admin-guide/kernel-parameters.txt`, earlycon. DDI 0183, UARTFR.

use super::ns16550::{self, Layout, Model, RegisterWidth};

/// The kind of UART that an early console is driven as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyConKind {
    /// Arm's PL011.
    Pl011,
    /// The part of a PL011 that SBSA asks for.
    SbsaUart,
    /// A 16550 or a compatible UART.
    Ns16550(Layout),
}

/// Offset of UARTFR, a PL011's flags, and two of them.
const FLAGS: u64 = 0x18;
const TX_FULL: u32 = 1 << 5;
const TX_EMPTY: u32 = 1 << 7;

impl EarlyConKind {
    /// Returns the register that tells whether there is a UART: its offset in bytes from
    /// the first register, and the width of its accesses.
    pub const fn status_register(self) -> (u64, RegisterWidth) {
        match self {
            EarlyConKind::Pl011 | EarlyConKind::SbsaUart => (FLAGS, RegisterWidth::Word),
            EarlyConKind::Ns16550(layout) => {
                ((ns16550::LINE_STATUS as u64) << layout.shift, layout.width)
            }
        }
    }

    /// Returns whether a UART can have `status` in its status register. An address at
    /// which no device answers often reads as all zeroes or all ones.
    ///
    /// A PL011 always has some flag set: it is busy while the transmitter's FIFO isn't
    /// empty. That FIFO is never empty and full at once (DDI 0183, UARTFR).
    pub const fn can_be(self, status: u32) -> bool {
        match self {
            EarlyConKind::Pl011 | EarlyConKind::SbsaUart => {
                status != 0 && status & (TX_EMPTY | TX_FULL) != TX_EMPTY | TX_FULL
            }
            EarlyConKind::Ns16550(_) => status & 0xff != ns16550::NO_DEVICE as u32,
        }
    }
}

/// An early console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyCon {
    /// The kind of UART that it is driven as.
    pub kind: EarlyConKind,
    /// Physical address of its first register.
    pub base: u64,
}

/// Why a text names no early console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyConError {
    /// There is no such kind.
    Kind,
    /// The address isn't `0x` and hexadecimal digits, or can't be that of a UART.
    Address,
}

/// The kinds by name. A name that begins with another name of the list stands before it.
const KINDS: [(&[u8], EarlyConKind); 10] = [
    (b"pl011,mmio32,", EarlyConKind::Pl011),
    (b"pl011,", EarlyConKind::Pl011),
    (b"sbsa-uart,", EarlyConKind::SbsaUart),
    (
        b"uart8250,mmio32,",
        EarlyConKind::Ns16550(plain(2, RegisterWidth::Word)),
    ),
    (
        b"uart8250,mmio,",
        EarlyConKind::Ns16550(plain(0, RegisterWidth::Byte)),
    ),
    (
        b"uart8250,",
        EarlyConKind::Ns16550(plain(0, RegisterWidth::Byte)),
    ),
    (
        b"uart,mmio32,",
        EarlyConKind::Ns16550(plain(2, RegisterWidth::Word)),
    ),
    (
        b"uart,mmio,",
        EarlyConKind::Ns16550(plain(0, RegisterWidth::Byte)),
    ),
    (
        b"uart,",
        EarlyConKind::Ns16550(plain(0, RegisterWidth::Byte)),
    ),
    (b"bcm2835aux,", EarlyConKind::Ns16550(Layout::MINI_UART)),
];

/// Returns the layout of a plain 16550 with this shift and width of its registers.
const fn plain(shift: u32, width: RegisterWidth) -> Layout {
    Layout {
        model: Model::Plain,
        shift,
        width,
    }
}

impl EarlyCon {
    /// How many bytes of registers are mapped, from [`EarlyCon::base`] on.
    pub const SIZE: u64 = 0x100;

    /// Returns the console that `words` name.
    ///
    /// # Errors
    /// [`EarlyConError`] if they name none.
    pub const fn parse(words: &[u8]) -> Result<EarlyCon, EarlyConError> {
        let mut at = 0;
        while at < KINDS.len() {
            let (name, kind) = KINDS[at];
            if let Some(rest) = behind(words, name) {
                return match address(rest) {
                    Some(base) if base % alignment(kind) == 0 => Ok(EarlyCon { kind, base }),
                    _ => Err(EarlyConError::Address),
                };
            }
            at += 1;
        }
        Err(EarlyConError::Kind)
    }
}

/// Returns the alignment of a UART's registers, in bytes.
const fn alignment(kind: EarlyConKind) -> u64 {
    match kind {
        EarlyConKind::Pl011 | EarlyConKind::SbsaUart => 4,
        EarlyConKind::Ns16550(layout) => layout.width.bytes() as u64,
    }
}

/// Returns the rest of `words` behind `name`, or `None` if `words` don't begin with it.
const fn behind<'a>(words: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = words;
    let mut at = 0;
    while at < name.len() {
        rest = match rest {
            [first, others @ ..] if *first == name[at] => others,
            _ => return None,
        };
        at += 1;
    }
    Some(rest)
}

/// Returns the address at the front of `words`. It is not 0, and [`EarlyCon::SIZE`] bytes
/// fit behind it.
const fn address(words: &[u8]) -> Option<u64> {
    let Some(mut digits) = behind(words, b"0x") else {
        return None;
    };
    let mut base: u64 = 0;
    while let [digit, rest @ ..] = digits {
        let value = match *digit {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            digit @ b'A'..=b'F' => digit - b'A' + 10,
            b',' => break,
            _ => return None,
        };
        if base >> 60 != 0 {
            return None;
        }
        base = base << 4 | value as u64;
        digits = rest;
    }
    if base == 0 || base > u64::MAX - EarlyCon::SIZE {
        return None;
    }
    Some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_are_told_apart() {
        let parse = |words: &str| EarlyCon::parse(words.as_bytes()).unwrap();
        let con = |kind, base| EarlyCon { kind, base };
        let pl011 = con(EarlyConKind::Pl011, 0x900_0000);
        assert_eq!(parse("pl011,0x9000000"), pl011);
        assert_eq!(parse("pl011,mmio32,0x09000000,115200n8"), pl011);
        assert_eq!(
            parse("sbsa-uart,0xFE201000"),
            con(EarlyConKind::SbsaUart, 0xfe20_1000)
        );
        let bytes = EarlyConKind::Ns16550(plain(0, RegisterWidth::Byte));
        assert_eq!(parse("uart8250,mmio,0x3f8,9600"), con(bytes, 0x3f8));
        assert_eq!(parse("uart8250,0x3f8"), con(bytes, 0x3f8));
        assert_eq!(parse("uart,mmio,0x40002000"), con(bytes, 0x4000_2000));
        assert_eq!(parse("uart,0x3f8"), con(bytes, 0x3f8));
        let words = EarlyConKind::Ns16550(plain(2, RegisterWidth::Word));
        assert_eq!(parse("uart8250,mmio32,0x10000000"), con(words, 0x1000_0000));
        assert_eq!(parse("uart,mmio32,0x10000000"), con(words, 0x1000_0000));
        let mini = EarlyConKind::Ns16550(Layout::MINI_UART);
        assert_eq!(parse("bcm2835aux,0xfe215040"), con(mini, 0xfe21_5040));
    }

    #[test]
    fn a_status_that_no_uart_has_is_no_uart() {
        let bytes = EarlyConKind::Ns16550(plain(0, RegisterWidth::Byte));
        let words = EarlyConKind::Ns16550(plain(2, RegisterWidth::Word));
        for kind in [EarlyConKind::Pl011, EarlyConKind::SbsaUart] {
            assert_eq!(kind.status_register(), (0x18, RegisterWidth::Word));
            // Idle, sending the last byte, sending with some to come, full.
            for flags in [0x90, 0x98, 0x88, 0x18, 0x38, 0x191] {
                assert!(kind.can_be(flags), "{flags:#x}");
            }
            for flags in [0, 0xa0, 0xff, u32::MAX] {
                assert!(!kind.can_be(flags), "{flags:#x}");
            }
        }
        assert_eq!(bytes.status_register(), (5, RegisterWidth::Byte));
        assert_eq!(words.status_register(), (20, RegisterWidth::Word));
        for kind in [bytes, words] {
            // Idle, and sending: a moment in which nothing is set.
            assert!(kind.can_be(0x60) && kind.can_be(0));
            assert!(!kind.can_be(0xff) && !kind.can_be(u32::MAX));
        }
    }

    #[test]
    fn what_is_no_console_is_refused() {
        for words in ["", "pl011", "ttyS0,0x1000", "PL011,0x1000", "0x1000"] {
            assert_eq!(
                EarlyCon::parse(words.as_bytes()),
                Err(EarlyConError::Kind),
                "{words}"
            );
        }
        for words in [
            "pl011,",
            "pl011,9000000",
            "pl011,0x",
            "pl011,0x0",
            "pl011,0x9000002",
            "pl011,0x900000g",
            "pl011,0x10000000000001000",
            "pl011,0xffffffffffffff04",
            "uart8250,io,0x3f8",
            "uart8250,mmio32,0x3f9",
        ] {
            assert_eq!(
                EarlyCon::parse(words.as_bytes()),
                Err(EarlyConError::Address),
                "{words}"
            );
        }
    }
}
