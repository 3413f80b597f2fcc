//! The console: an Arm PL011 UART, or the part of one that SBSA asks for.
//!
//! The driver leaves the baud rate as firmware set it, because often only firmware
//! knows which clock feeds the divider. It turns on only what it needs, and only what
//! is off.
//!
//! SBSA's generic UART has the data, flag and interrupt registers of a PL011 and no
//! others. Firmware has turned it on and set up its line.
//!
//! # Concurrency
//! The caller holds the console lock, or has broken it to print a panic. In the second
//! case two CPUs may use the UART at once. Each access is a single load or store of a
//! device register, so at worst a byte is lost or printed between two others.
//!
//! # Flow control
//! If nUARTRTS is connected, it tells the other side to wait while the receive FIFO
//! is full. Otherwise a full FIFO overruns, and `get` reports that. The driver leaves
//! the other direction as firmware set it: with flow control by nUARTCTS a UART whose
//! nUARTCTS isn't connected would send nothing.
//!
//! # Sources
//! DDI 0183, PrimeCell UART (PL011) technical reference manual: UARTCR, UARTLCR_H,
//! UARTFR, UARTIMSC, UARTRIS (an overrun). DEN 0029, Server Base System Architecture,
//! Generic UART: its registers.

use core::ptr::{self, NonNull};
use core::time::Duration;

use arm_pl011_uart::{Error, FifoLevel, Interrupts, PL011Registers, Uart, UniqueMmioPointer};
use safe_mmio::fields::ReadPureWrite;
use tock_registers::{LocalRegisterCopy, register_bitfields};

use crate::arch::aarch64::timer;
use crate::device::{Patience, ROOM_LIMIT};
use crate::platform::{Console, Received};

/// Size of the largest receive FIFO, in bytes.
const FIFO_LEN: usize = 32;

/// Offsets of two registers to which `arm_pl011_uart` gives no access. `safe_mmio`
/// accesses them, with instructions that a hypervisor can emulate.
const LINE_CONTROL: usize = 0x2c;
const CONTROL: usize = 0x30;

register_bitfields! {u32,
    /// UARTLCR_H, line control. Its other bits are 0 for no parity and one stop bit.
    LCR_H [
        /// FIFOs on.
        FEN OFFSET(4) NUMBITS(1) [],
        /// Data bits.
        WLEN OFFSET(5) NUMBITS(2) [ Eight = 0b11 ],
    ],
    /// UARTCR, control.
    CR [
        /// The UART is on.
        UARTEN OFFSET(0) NUMBITS(1) [],
        /// Its transmitter is on.
        TXE OFFSET(8) NUMBITS(1) [],
        /// Its receiver is on.
        RXE OFFSET(9) NUMBITS(1) [],
        /// nUARTRTS tells the other side to wait while the receive FIFO is full.
        RTSEN OFFSET(14) NUMBITS(1) [],
    ],
}

/// The interrupts for received bytes: the FIFO has reached its level, or it holds fewer
/// bytes and none has arrived for the time of 32 bits.
const RECEIVE: Interrupts = Interrupts::RXI.union(Interrupts::RTI);

/// Turns on those parts of the UART that are off. Leaves the baud rate alone.
///
/// After a reset the UART is off, without FIFOs and with five data bits; QEMU's prints
/// nevertheless, with a complaint. Firmware that used it has turned it on.
///
/// # Safety
/// `base` must be a PL011, mapped as device memory (or the MMU is off), and
/// no other pointer to it may be in use.
pub(super) unsafe fn turn_on(base: NonNull<PL011Registers>) {
    let word = base.cast::<ReadPureWrite<u32>>();
    // SAFETY: the register lies within the PL011's.
    let control = unsafe { word.byte_add(CONTROL) };
    // SAFETY: promised by the caller.
    let mut control = unsafe { UniqueMmioPointer::new(control) };
    // SAFETY: the register lies within the PL011's.
    let line = unsafe { word.byte_add(LINE_CONTROL) };
    // SAFETY: promised by the caller; `control` points to another register.
    let mut line = unsafe { UniqueMmioPointer::new(line) };

    let mut format = LocalRegisterCopy::<u32, LCR_H::Register>::new(line.read());
    if !format.is_set(LCR_H::FEN) {
        if format.get() == 0 {
            format.modify(LCR_H::WLEN::Eight);
        }
        // The line control register may only change while the UART is off. Turning a busy
        // UART off would cut firmware's last byte, so wait until it is idle. If it stays
        // busy there is nothing better to do than to go on.
        // SAFETY: promised by the caller. Only the flag register is accessed through
        // `device`, which neither of the two pointers above points to.
        let device = Uart::new(unsafe { UniqueMmioPointer::new(base) });
        timer::poll(ROOM_LIMIT, || !device.is_busy());
        let was = control.read();
        let mut off = LocalRegisterCopy::<u32, CR::Register>::new(was);
        off.modify(CR::UARTEN::CLEAR);
        control.write(off.get());
        // Turning the FIFOs on would drop bytes that have been received by now. So they
        // stay off then: an emulator doesn't need them, and a UART without them still
        // reports an overrun.
        if device.is_rx_fifo_empty() {
            format.modify(LCR_H::FEN::SET);
        }
        line.write(format.get());
        control.write(was);
    }
    let all_on = CR::UARTEN::SET + CR::TXE::SET + CR::RXE::SET + CR::RTSEN::SET;
    let mut state = LocalRegisterCopy::<u32, CR::Register>::new(control.read());
    if !state.matches_all(all_on) {
        state.modify(all_on);
        control.write(state.get());
    }
}

/// A PL011.
#[derive(Debug)]
pub struct Pl011 {
    base: NonNull<PL011Registers>,
    patience: Patience,
}

// SAFETY: the pointer is to device registers, which any CPU may use.
unsafe impl Send for Pl011 {}
// SAFETY: as for `Send`; the module says which contexts use the UART at the same time.
unsafe impl Sync for Pl011 {}

impl Pl011 {
    /// Takes the UART at `base` over from firmware. Turns it on, and its interrupts off.
    ///
    /// # Errors
    /// [`Pl011Error::BadAddress`] if no UART can be there.
    ///
    /// # Safety
    /// `base` must be the address of a PL011's registers, mapped as device
    /// memory for ever. Only the early console may use the UART too, and not at the
    /// same time.
    pub unsafe fn new(base: u64) -> Result<Pl011, Pl011Error> {
        let pointer = registers_at(base)?;
        // SAFETY: promised by the caller.
        unsafe { turn_on(pointer) };
        // SAFETY: promised by the caller.
        let uart = unsafe { Pl011::new_sbsa(base) }?;
        uart.device()
            .set_interrupt_fifo_levels(FifoLevel::Bytes4, FifoLevel::Bytes4);
        Ok(uart)
    }

    /// Takes SBSA's generic UART at `base` over from firmware, and turns its interrupts
    /// off.
    ///
    /// # Errors
    /// [`Pl011Error::BadAddress`] if no UART can be there.
    ///
    /// # Safety
    /// As for [`Pl011::new`], except that the UART needs only those registers of a PL011
    /// that SBSA asks for.
    pub unsafe fn new_sbsa(base: u64) -> Result<Pl011, Pl011Error> {
        let uart = Pl011 {
            base: registers_at(base)?,
            patience: Patience::new(),
        };
        let mut device = uart.device();
        device.set_interrupt_masks(Interrupts::empty());
        device.clear_interrupts(Interrupts::all());
        Ok(uart)
    }

    /// Returns the UART's registers, for one operation.
    fn device(&self) -> Uart<'_> {
        // SAFETY: the caller of `new` promised that it is a PL011. Two pointers exist at
        // once only during a panic, which is harmless (see the module).
        Uart::new(unsafe { UniqueMmioPointer::new(self.base) })
    }
}

/// Why there can't be a UART at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pl011Error {
    /// The address is 0 or not aligned.
    BadAddress(u64),
}

impl core::fmt::Display for Pl011Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::BadAddress(address) => {
                write!(f, "{address:#x} can not be the address of a PL011")
            }
        }
    }
}

impl core::error::Error for Pl011Error {}

/// Returns the pointer to a PL011 at `base`.
///
/// # Errors
/// [`Pl011Error::BadAddress`] if no UART can be there.
pub(super) fn registers_at(base: u64) -> Result<NonNull<PL011Registers>, Pl011Error> {
    let bad = Pl011Error::BadAddress(base);
    let address = usize::try_from(base).map_err(|_| bad)?;
    NonNull::new(ptr::with_exposed_provenance_mut::<PL011Registers>(address))
        .filter(|pointer| pointer.is_aligned())
        .ok_or(bad)
}

/// Sends `byte` if there is room within `limit`. Returns whether it was sent.
pub(super) fn send(device: &mut Uart<'_>, byte: u8, limit: Duration) -> bool {
    let room = timer::poll(limit, || !device.is_tx_fifo_full());
    if room {
        device.write_word(byte);
    }
    room
}

impl Console for Pl011 {
    fn put(&self, byte: u8) -> bool {
        let mut device = self.device();
        self.patience.wait(|limit| send(&mut device, byte, limit))
    }

    /// After an overrun it drops the bytes of the FIFO: the gap is behind one of them, and
    /// the UART doesn't tell behind which.
    fn get(&self) -> Option<Received> {
        let mut device = self.device();
        let overrun = device.raw_interrupt_status().contains(Interrupts::OEI);
        match device.read_word() {
            Ok(received) if !overrun => received.map(Received::Byte),
            Err(Error::Framing | Error::Parity | Error::Break) if !overrun => Some(Received::Lost),
            _ => {
                device.clear_interrupts(Interrupts::OEI);
                for _ in 0..FIFO_LEN {
                    if let Ok(None) = device.read_word() {
                        break;
                    }
                }
                Some(Received::Lost)
            }
        }
    }

    fn set_receive_interrupt(&self, on: bool) {
        let mask = if on { RECEIVE } else { Interrupts::empty() };
        self.device().set_interrupt_masks(mask);
    }

    fn clear_receive_interrupt(&self) {
        self.device().clear_interrupts(RECEIVE);
    }
}
