//! A console for what happens before the device tree has been read.
//!
//! It is chosen when the kernel is built, by the environment variable
//! `EARLYCON=pl011,0x9000000`, and is the one place where an address is compiled
//! in. Without the variable there is none, and the code folds away.
//!
//! It needs nothing: no memory, no lock, no page tables. CPUs that print at the
//! same time mix their letters. It is a debugging aid and knows its place: as
//! soon as the real console is up, use that.

use core::ops::Range;
use core::ptr::NonNull;

use arm_pl011_uart::{PL011Registers, Uart, UniqueMmioPointer};

use super::pl011;

/// Bytes of registers that a PL011 has.
const SIZE: u64 = 0x1000;

/// Where the PL011 is.
const BASE: Option<u64> = match option_env!("EARLYCON") {
    None => None,
    Some(choice) => parse(choice.as_bytes()),
};

/// Writes `text`, each line feed with a carriage return before it. Gives up on
/// the rest when there is no room for 10 ms. Does nothing if no early console
/// was configured.
///
/// Context: any, MMU on or off. With the MMU on, [`mmio`] must be mapped.
pub fn write_str(text: &str) {
    let Some(base) = registers() else {
        return;
    };
    // SAFETY: who configured the early console says that it is there.
    unsafe { pl011::turn_on(base) };
    // SAFETY: as above; another CPU that prints too uses single accesses as
    // well, and costs letters at worst.
    let mut device = Uart::new(unsafe { UniqueMmioPointer::new(base) });
    for byte in text.bytes() {
        let sent = (byte != b'\n' || pl011::send(&mut device, b'\r', true))
            && pl011::send(&mut device, byte, true);
        if !sent {
            return;
        }
    }
}

/// Whether the kernel was built with an early console.
pub const fn is_configured() -> bool {
    BASE.is_some()
}

/// The registers of the early console, to be mapped as device memory.
pub const fn mmio() -> Option<Range<u64>> {
    match BASE {
        Some(base) => Some(base..base + SIZE),
        None => None,
    }
}

fn registers() -> Option<NonNull<PL011Registers>> {
    pl011::registers_at(BASE?).ok()
}

/// Reads `pl011,` and a hexadecimal address; the empty string is no console.
///
/// # Panics
/// On anything else: when the kernel is built, as an error of the compiler.
const fn parse(choice: &[u8]) -> Option<u64> {
    const PREFIX: &[u8] = b"pl011,0x";
    if choice.is_empty() {
        return None;
    }
    assert!(
        choice.len() > PREFIX.len() && choice.len() <= PREFIX.len() + 16,
        "EARLYCON must be pl011,0x<address>"
    );
    let mut base: u64 = 0;
    let mut at = 0;
    while at < choice.len() {
        if at < PREFIX.len() {
            assert!(
                choice[at] == PREFIX[at],
                "EARLYCON must be pl011,0x<address>"
            );
        } else {
            let digit = match choice[at] {
                digit @ b'0'..=b'9' => digit - b'0',
                digit @ b'a'..=b'f' => digit - b'a' + 10,
                digit @ b'A'..=b'F' => digit - b'A' + 10,
                _ => panic!("EARLYCON's address is not hexadecimal"),
            };
            base = base << 4 | digit as u64;
        }
        at += 1;
    }
    assert!(
        base != 0 && base.is_multiple_of(SIZE) && base <= u64::MAX - SIZE,
        "EARLYCON's address is not one of a page"
    );
    Some(base)
}
