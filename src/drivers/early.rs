//! A console for messages before the real console is up.
//!
//! Until the device tree has been read, this is the console of the board whose feature
//! `earlycon-…` the kernel was built with: the only address that is compiled in. Without such a
//! feature there is none. Once there is a tree, the caller may [`choose`] another.
//!
//! It needs no memory, no lock and no page tables. If CPUs print at the same time, their
//! letters mix. It is a debugging aid: as soon as the real console is up, use that.

use core::ops::Range;

#[cfg(feature = "pl011")]
use arm_pl011_uart::{Uart, UniqueMmioPointer};

#[cfg(feature = "pl011")]
use super::pl011;
#[cfg(feature = "ns16550")]
use super::uart16550::MmioPort;
use crate::arch::aarch64::probe;
use crate::device::{EarlyCon, EarlyConKind, Ns16550, ROOM_LIMIT};
use crate::platform::Console;
use crate::sync::UnsafeCell;

/// The early console that the kernel was built with.
pub const BUILT_IN: Option<EarlyCon> = if cfg!(feature = "earlycon-rpi4") {
    Some(known("bcm2835aux,0xfe215040"))
} else if cfg!(feature = "earlycon-virt") {
    Some(known("pl011,0x9000000"))
} else {
    None
};

/// Returns the console of the argument `earlycon=words`.
const fn known(words: &str) -> EarlyCon {
    match EarlyCon::parse(words.as_bytes()) {
        Ok(console) => console,
        Err(_) => panic!("BUG: this is no early console"),
    }
}

/// Returns whether this kernel was built with the driver of `kind`.
pub const fn has_driver(kind: EarlyConKind) -> bool {
    match kind {
        EarlyConKind::Pl011 | EarlyConKind::SbsaUart => cfg!(feature = "pl011"),
        EarlyConKind::Ns16550(_) => cfg!(feature = "ns16550"),
    }
}

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
        #[cfg(feature = "pl011")]
        EarlyConKind::Pl011 => {
            turn_on_pl011(base);
            write_sbsa_uart(base, text);
        }
        #[cfg(feature = "pl011")]
        EarlyConKind::SbsaUart => write_sbsa_uart(base, text),
        #[cfg(feature = "ns16550")]
        EarlyConKind::Ns16550(layout) => {
            // SAFETY: the caller of `choose` promised that the UART exists. Another CPU that
            // prints meanwhile makes single accesses too, so at worst letters are lost.
            if let Some(port) = unsafe { MmioPort::new(base, layout) } {
                let uart = Ns16550::as_it_is(port, layout.model);
                write(text, |byte| uart.put(byte));
            }
        }
        // Such a console is never chosen.
        #[cfg(not(all(feature = "pl011", feature = "ns16550")))]
        _ => {
            let _not_printed = (base, text);
        }
    }
}

/// Turns a PL011 at `base` on. A UART as SBSA asks for it is always on.
#[cfg(feature = "pl011")]
fn turn_on_pl011(base: u64) {
    if let Ok(base) = pl011::registers_at(base) {
        // SAFETY: the caller of `choose` promised that the UART exists.
        unsafe { pl011::turn_on(base) };
    }
}

/// Writes `text` to a PL011, or to the part of one that SBSA asks for.
#[cfg(feature = "pl011")]
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
