//! A console for messages before the real console is up.
//!
//! Until the device tree has been read, this is the console that the kernel was built
//! with, by the environment variable `EARLYCON=pl011,0x9000000`: the only address that is
//! compiled in. Without the variable there is none. Once there is a tree, the caller
//! may [`choose`] another.
//!
//! It needs no memory, no lock and no page tables. If CPUs print at the same time, their
//! letters mix. It is a debugging aid: as soon as the real console is up, use that.

use core::ops::Range;

use arm_pl011_uart::{Uart, UniqueMmioPointer};

use super::pl011;
use super::uart16550::MmioPort;
use crate::arch::aarch64::probe;
use crate::device::{EarlyCon, EarlyConKind, Ns16550, ROOM_LIMIT};
use crate::platform::Console;
use crate::sync::UnsafeCell;

/// The early console that the kernel was built with.
pub const BUILT_IN: Option<EarlyCon> = match option_env!("EARLYCON") {
    None => None,
    Some(words) if words.is_empty() => None,
    Some(words) => match EarlyCon::parse(words.as_bytes()) {
        Ok(console) => Some(console),
        Err(_) => panic!("EARLYCON must be a kind and an address, such as pl011,0x9000000"),
    },
};

/// The console that [`write_str`] prints to.
struct Chosen(UnsafeCell<Option<EarlyCon>>);

// SAFETY: written only by `choose`, whose caller promises that no other CPU runs.
unsafe impl Sync for Chosen {}

static CHOSEN: Chosen = Chosen(UnsafeCell::new(BUILT_IN));

/// Makes [`write_str`] print to `console`, or to nothing if it is `None`.
///
/// # Safety
/// The console exists, or the user has asked for it. No other CPU runs, and this one
/// prints nothing meanwhile.
pub unsafe fn choose(console: Option<EarlyCon>) {
    // SAFETY: the caller promises that nothing else refers to it.
    unsafe { *CHOSEN.0.get() = console };
}

/// Returns the console that [`write_str`] prints to.
fn chosen() -> Option<EarlyCon> {
    // SAFETY: nothing writes to it now: see `choose`.
    unsafe { *CHOSEN.0.get() }
}

/// Writes `text`, each line feed with a carriage return before it. Gives up on
/// the rest when there is no room for 10 ms. Does nothing if there is no early
/// console.
///
/// # Context
/// Any, MMU on or off. With the MMU on, [`mmio`] must be mapped.
pub fn write_str(text: &str) {
    let Some(EarlyCon { kind, base }) = chosen() else {
        return;
    };
    match kind {
        EarlyConKind::Pl011 => {
            turn_on_pl011(base);
            write_sbsa_uart(base, text);
        }
        EarlyConKind::SbsaUart => write_sbsa_uart(base, text),
        EarlyConKind::Ns16550(layout) => {
            // SAFETY: the caller of `choose` promised that the UART exists. Another CPU that
            // prints meanwhile makes single accesses too, so at worst letters are lost.
            if let Some(port) = unsafe { MmioPort::new(base, layout) } {
                let uart = Ns16550::as_it_is(port, layout.model);
                write(text, |byte| uart.put(byte));
            }
        }
    }
}

/// Turns a PL011 at `base` on. A UART as SBSA asks for it is always on.
fn turn_on_pl011(base: u64) {
    if let Ok(base) = pl011::registers_at(base) {
        // SAFETY: the caller of `choose` promised that the UART exists.
        unsafe { pl011::turn_on(base) };
    }
}

/// Writes `text` to a PL011, or to the part of one that SBSA asks for.
fn write_sbsa_uart(base: u64, text: &str) {
    let Ok(base) = pl011::registers_at(base) else {
        return;
    };
    // SAFETY: the caller of `choose` promised that the UART exists. Another CPU that prints
    // meanwhile makes single accesses too, so at worst letters are lost.
    let mut device = Uart::new(unsafe { UniqueMmioPointer::new(base) });
    write(text, |byte| pl011::send(&mut device, byte, ROOM_LIMIT));
}

/// Passes `text` to `put` byte by byte, each line feed with a carriage return before it,
/// until `put` returns false.
fn write(text: &str, mut put: impl FnMut(u8) -> bool) {
    for byte in text.bytes() {
        if (byte == b'\n' && !put(b'\r')) || !put(byte) {
            return;
        }
    }
}

/// Returns whether a UART answers at the address of `console`.
///
/// # Context
/// As [`write_str`].
///
/// # Safety
/// The address of `console` holds no memory, but a device or nothing. With the MMU on the
/// registers are mapped.
pub unsafe fn answers(console: EarlyCon) -> bool {
    let (offset, width) = console.kind.status_register();
    // SAFETY: reading that register changes nothing but the overrun bit of a 16550, and
    // no code has asked for input yet. It is as aligned as the UART. The caller promises
    // the rest.
    let status = unsafe { probe::read(console.base + offset, width) };
    status.is_some_and(|status| console.kind.can_be(status))
}

/// Returns the addresses of the early console's registers, to be mapped as device memory;
/// `None` if there is no early console.
pub fn mmio() -> Option<Range<u64>> {
    chosen().map(registers)
}

/// Returns the addresses of the registers of `console`.
pub const fn registers(console: EarlyCon) -> Range<u64> {
    console.base..console.base + EarlyCon::SIZE
}
