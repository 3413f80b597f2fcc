//! A console for what happens before there is a real one.
//!
//! Until the device tree has been read it is the one that the kernel was built with,
//! by the environment variable `EARLYCON=pl011,0x9000000`: the one place where an
//! address is compiled in. Without the variable there is none. Once there is a tree,
//! the caller may [`choose`] another.
//!
//! It needs nothing: no memory, no lock, no page tables. CPUs that print at the
//! same time mix their letters. It is a debugging aid and knows its place: as
//! soon as the real console is up, use that.

use core::ops::Range;

use arm_pl011_uart::{Uart, UniqueMmioPointer};

use super::pl011;
use super::uart16550::MmioPort;
use crate::arch::aarch64::probe;
use crate::device::{EarlyCon, EarlyConKind, Ns16550, ROOM_LIMIT};
use crate::platform::Console;
use crate::sync::UnsafeCell;

/// What the kernel was built with.
pub const BUILT_IN: Option<EarlyCon> = match option_env!("EARLYCON") {
    None => None,
    Some(words) if words.is_empty() => None,
    Some(words) => match EarlyCon::parse(words.as_bytes()) {
        Ok(console) => Some(console),
        Err(_) => panic!("EARLYCON must be a kind and an address, such as pl011,0x9000000"),
    },
};

/// What is printed to.
struct Chosen(UnsafeCell<Option<EarlyCon>>);

// SAFETY: written only by `choose`, whose caller promises that no other CPU runs.
unsafe impl Sync for Chosen {}

static CHOSEN: Chosen = Chosen(UnsafeCell::new(BUILT_IN));

/// Makes `console` the one to print to, or makes there be none.
///
/// # Safety
/// The console is there, or the user says so. No other CPU runs, and this one prints
/// nothing meanwhile.
pub unsafe fn choose(console: Option<EarlyCon>) {
    // SAFETY: the caller promises that nothing else refers to it.
    unsafe { *CHOSEN.0.get() = console };
}

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
            // SAFETY: the caller of `choose` promised that it is there; another CPU
            // that prints too uses single accesses as well, and costs letters at worst.
            if let Some(port) = unsafe { MmioPort::new(base, layout) } {
                let uart = Ns16550::as_it_is(port, layout.model);
                write(text, |byte| uart.put(byte));
            }
        }
    }
}

/// Turns on what a PL011 has beyond the UART that SBSA asks for.
fn turn_on_pl011(base: u64) {
    if let Ok(base) = pl011::registers_at(base) {
        // SAFETY: the caller of `choose` promised that it is there.
        unsafe { pl011::turn_on(base) };
    }
}

/// Writes to a PL011 or as much of one as SBSA asks for.
fn write_sbsa_uart(base: u64, text: &str) {
    let Ok(base) = pl011::registers_at(base) else {
        return;
    };
    // SAFETY: the caller of `choose` promised that it is there; another CPU that prints too uses single accesses as
    // well, and costs letters at worst.
    let mut device = Uart::new(unsafe { UniqueMmioPointer::new(base) });
    write(text, |byte| pl011::send(&mut device, byte, ROOM_LIMIT));
}

fn write(text: &str, mut put: impl FnMut(u8) -> bool) {
    for byte in text.bytes() {
        if (byte == b'\n' && !put(b'\r')) || !put(byte) {
            return;
        }
    }
}

/// Returns whether a UART answers where `console` is said to be.
///
/// # Context
/// As [`write_str`].
///
/// # Safety
/// No memory is at `console`: a device, or nothing. With the MMU on its registers are
/// mapped.
pub unsafe fn answers(console: EarlyCon) -> bool {
    let (offset, width) = console.kind.status_register();
    // SAFETY: reading that register changes nothing but an overrun that a 16550 has noted,
    // and no input was asked for; it is as aligned as the UART. The rest is promised
    // by the caller.
    let status = unsafe { probe::read(console.base + offset, width) };
    status.is_some_and(|status| console.kind.can_be(status))
}

/// Returns the registers of the early console, to be mapped as device memory.
pub fn mmio() -> Option<Range<u64>> {
    chosen().map(registers)
}

/// Returns the registers of `console`.
pub const fn registers(console: EarlyCon) -> Range<u64> {
    console.base..console.base + EarlyCon::SIZE
}
