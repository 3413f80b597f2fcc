//! The 16550 and compatible UARTs, the BCM2835's mini UART among them.
//!
//! The driver leaves the baud rate and the format of a character as firmware set them,
//! because often only firmware knows which clock feeds the divisor. It sets nothing else
//! that it can do without.
//!
//! The driver sends a byte when bit 5 of the line status says that there is room. A
//! 16550 sets that bit when its transmitter's FIFO is empty, a mini UART when it isn't
//! full.
//!
//! # Concurrency
//! As [`Console`] says, the caller holds the console lock or has broken it. In
//! the second case each access is still a single load or store of a register, and
//! at worst a byte is lost.
//!
//! # Sources
//! - PC16550D, *Universal Asynchronous Receiver/Transmitter with FIFOs*: RBR, THR,
//!   IER, IIR, FCR, LCR, MCR, LSR.
//! - *BCM2835 ARM Peripherals*, 2.2, Mini UART. The copies of that document differ
//!   about AUX_MU_IER_REG: some exchange bits 0 and 1. The register is that of a 16550,
//!   with bit 0 for receive, and bit 2 has to be set too (the errata at
//!   elinux.org/BCM2835_datasheet_errata, p12).
//! - Linux, `Documentation/devicetree/bindings/serial/8250.yaml` and
//!   `snps-dw-apb-uart.yaml`. The DesignWare UART's own registers are in the manuals
//!   of the chips that have one: USR, and the "busy detect" of IIR.

use core::time::Duration;

use tock_registers::{LocalRegisterCopy, register_bitfields};

use super::patience::{Patience, ROOM_LIMIT};
use crate::platform::{Console, Received};
use crate::sync::atomic::{AtomicBool, Ordering};

/// Receiver buffer (read) and transmitter holding register (written).
const DATA: u32 = 0;
/// IER, interrupt enable.
const INTERRUPT_ENABLE: u32 = 1;
/// IIR, interrupt identification (read), and FCR, FIFO control (written).
const INTERRUPT_ID: u32 = 2;
const FIFO_CONTROL: u32 = 2;
/// LCR, line control.
const LINE_CONTROL: u32 = 3;
/// MCR, modem control.
const MODEM_CONTROL: u32 = 4;
/// LSR, line status.
pub(super) const LINE_STATUS: u32 = 5;
/// USR, UART status; a DesignWare's only.
const UART_STATUS: u32 = 31;

register_bitfields! {u8,
    /// Interrupt enable.
    IER [
        /// Interrupt when a byte was received.
        RECEIVE OFFSET(0) NUMBITS(1) [],
        /// Interrupt when a byte was received with an error, or was lost.
        LINE_STATUS OFFSET(2) NUMBITS(1) [],
    ],
    /// Interrupt identification.
    IIR [
        /// The most urgent pending interrupt.
        ID OFFSET(0) NUMBITS(4) [
            /// Bytes have been in the FIFO for a while, below its trigger level.
            TimeOut = 0xc,
            /// A DesignWare's LCR was written while it was busy.
            BusyDetect = 0x7,
        ],
        /// The FIFOs are on.
        FIFOS OFFSET(6) NUMBITS(2) [ On = 0b11 ],
    ],
    /// FIFO control.
    FCR [
        /// FIFOs on. With all other bits 0 the receive interrupt comes from the first
        /// byte on, and no FIFO is cleared.
        ENABLE OFFSET(0) NUMBITS(1) [],
    ],
    /// Line control.
    LCR [
        /// Registers 0 and 1 hold the divisor of the baud rate.
        DIVISOR_LATCH OFFSET(7) NUMBITS(1) [],
    ],
    /// Modem control.
    MCR [
        /// On a PC, the gate of the interrupt line.
        OUT2 OFFSET(3) NUMBITS(1) [],
    ],
    /// Line status.
    LSR [
        /// There is a received byte.
        DATA_READY OFFSET(0) NUMBITS(1) [],
        /// A byte was lost because there was no room for it; reading LSR clears the bit.
        /// The UART doesn't tell behind which of the FIFO's bytes that was.
        OVERRUN OFFSET(1) NUMBITS(1) [],
        /// Parity error of the byte that is read next.
        PARITY OFFSET(2) NUMBITS(1) [],
        /// Framing error of the byte that is read next.
        FRAMING OFFSET(3) NUMBITS(1) [],
        /// The byte that is read next is a break.
        BREAK OFFSET(4) NUMBITS(1) [],
        /// There is room for a byte.
        ROOM OFFSET(5) NUMBITS(1) [],
        /// There is room, and nothing is being sent.
        IDLE OFFSET(6) NUMBITS(1) [],
    ],
}

/// The line status that is read where no device answers. A UART doesn't set all eight bits
/// at once: an overrun, a parity error, a framing error and a break together with an
/// idle transmitter.
pub(super) const NO_DEVICE: u8 = 0xff;

/// Size of the largest receive FIFO, in bytes.
const LARGEST_FIFO: usize = 256;

/// How wide the accesses to a register have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterWidth {
    /// A byte.
    Byte,
    /// A word, of which the lowest byte counts.
    Word,
}

impl RegisterWidth {
    /// Returns the number of bytes of an access.
    pub const fn bytes(self) -> u32 {
        match self {
            RegisterWidth::Byte => 1,
            RegisterWidth::Word => 4,
        }
    }
}

/// Which kind of 16550 a UART is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// A 8250, 16450, 16550 or a faithful copy.
    Plain,
    /// Synopsys' DesignWare APB UART. It differs in two ways: it has an interrupt
    /// that only reading USR ends, and its time-out interrupt can come without a byte.
    DesignWare,
    /// The BCM2835's mini UART. It has no parity, and its document doesn't say how the
    /// error bits of a byte read.
    MiniUart,
}

/// Which registers a UART has, and where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Which kind of 16550 the UART is.
    pub model: Model,
    /// Log2 of the distance from one register to the next, in bytes.
    pub shift: u32,
    /// How wide the accesses to a register have to be.
    pub width: RegisterWidth,
}

impl Layout {
    /// The layout of the mini UART, which its device tree node doesn't have to give.
    pub const MINI_UART: Layout = Layout {
        model: Model::MiniUart,
        shift: 2,
        width: RegisterWidth::Word,
    };

    /// Returns the number of bytes from the first register to the end of the last one that
    /// is used; `None` if registers would overlap or the shift is above 8.
    pub const fn size(self) -> Option<u32> {
        // Real UARTs have a shift of 0, 1 or 2.
        if self.shift > 8 || 1 << self.shift < self.width.bytes() {
            return None;
        }
        let last = match self.model {
            Model::DesignWare => UART_STATUS,
            Model::Plain | Model::MiniUart => LINE_STATUS,
        };
        Some((last << self.shift) + self.width.bytes())
    }
}

/// Access to a UART's registers, by their number, and to the clock.
pub trait Port: Sync {
    /// Reads the register of this number.
    fn read(&self, register: u32) -> u8;

    /// Writes the register of this number.
    fn write(&self, register: u32, value: u8);

    /// Calls `done` until it returns true or `limit` has passed, at least once. Returns
    /// whether it returned true.
    fn poll(&self, limit: Duration, done: impl FnMut() -> bool) -> bool;
}

/// A 16550 or a compatible UART.
#[derive(Debug)]
pub struct Ns16550<P> {
    /// The access to its registers.
    port: P,
    /// Which kind of 16550 it is.
    model: Model,
    /// Whether `put` waits for room.
    patience: Patience,
    /// Whether the line status showed an overrun that `get` hasn't reported yet: reading
    /// the line status clears the overrun in the UART. Relaxed: it orders nothing. If
    /// `get` on another CPU comes between `put`'s read of the line status and its store
    /// here, the bytes that `get` takes are still those before the gap.
    overrun: AtomicBool,
}

impl<P: Port> Ns16550<P> {
    /// Returns the UART at `port` as firmware left it. Touches no register.
    pub fn as_it_is(port: P, model: Model) -> Ns16550<P> {
        Ns16550 {
            port,
            model,
            patience: Patience::new(),
            overrun: AtomicBool::new(false),
        }
    }

    /// Takes the UART at `port` over from firmware and turns its interrupts off.
    pub fn new(port: P, model: Model) -> Ns16550<P> {
        let uart = Ns16550::as_it_is(port, model);
        // Turning the FIFOs on empties them, and a busy DesignWare ignores a write to
        // LCR. So the UART finishes sending what firmware wrote first. If it stays busy
        // there is nothing better to do than to go on.
        let idle = || uart.status().is_set(LSR::IDLE);
        uart.port.poll(ROOM_LIMIT, idle);
        let mut line = LocalRegisterCopy::new(uart.port.read(LINE_CONTROL));
        if line.is_set(LCR::DIVISOR_LATCH) {
            line.modify(LCR::DIVISOR_LATCH::CLEAR);
            uart.port.write(LINE_CONTROL, line.get());
        }
        uart.port.write(INTERRUPT_ENABLE, 0);
        // Turning the FIFOs on would drop bytes that have been received by now. So they
        // stay off then: an emulator doesn't need them, and a UART without them still
        // reports an overrun. Those of a mini UART are always on.
        let which = LocalRegisterCopy::<u8, IIR::Register>::new(uart.port.read(INTERRUPT_ID));
        if which.matches_all(IIR::FIFOS::On) || !uart.status().is_set(LSR::DATA_READY) {
            uart.port.write(FIFO_CONTROL, FCR::ENABLE::SET.value);
        }
        uart
    }

    /// Returns the line status, and records an overrun that it shows.
    fn status(&self) -> LocalRegisterCopy<u8, LSR::Register> {
        let status = LocalRegisterCopy::new(self.port.read(LINE_STATUS));
        if status.is_set(LSR::OVERRUN) && status.get() != NO_DEVICE {
            self.overrun.store(true, Ordering::Relaxed);
        }
        status
    }

    /// Drops the bytes of the receive FIFO, at most [`LARGEST_FIFO`].
    fn drop_received(&self) {
        for _ in 0..LARGEST_FIFO {
            if !self.status().is_set(LSR::DATA_READY) {
                break;
            }
            self.port.read(DATA);
        }
    }
}

impl<P: Port> Console for Ns16550<P> {
    fn put(&self, byte: u8) -> bool {
        let room = || self.status().is_set(LSR::ROOM);
        let sent = self.patience.wait(|limit| self.port.poll(limit, room));
        if sent {
            self.port.write(DATA, byte);
        }
        sent
    }

    /// After an overrun it drops the bytes of the FIFO: the gap is behind one of them, and
    /// the UART doesn't tell behind which.
    fn get(&self) -> Option<Received> {
        let status = self.status();
        if status.get() == NO_DEVICE {
            return None;
        }
        if self.overrun.swap(false, Ordering::Relaxed) {
            self.drop_received();
            return Some(Received::Lost);
        }
        if !status.is_set(LSR::DATA_READY) {
            return None;
        }
        let byte = self.port.read(DATA);
        let damage = LSR::PARITY::SET + LSR::FRAMING::SET + LSR::BREAK::SET;
        if self.model != Model::MiniUart && status.any_matching_bits_set(damage) {
            Some(Received::Lost)
        } else {
            Some(Received::Byte(byte))
        }
    }

    fn set_receive_interrupt(&self, on: bool) {
        if on {
            let mut modem = LocalRegisterCopy::new(self.port.read(MODEM_CONTROL));
            modem.modify(MCR::OUT2::SET);
            self.port.write(MODEM_CONTROL, modem.get());
        }
        let receive = (IER::RECEIVE::SET + IER::LINE_STATUS::SET).value;
        self.port
            .write(INTERRUPT_ENABLE, if on { receive } else { 0 });
    }

    /// Reading the bytes ends the receive interrupt. This ends only the two interrupts of
    /// a DesignWare that can come without a byte.
    fn clear_receive_interrupt(&self) {
        if self.model != Model::DesignWare {
            return;
        }
        let which = LocalRegisterCopy::new(self.port.read(INTERRUPT_ID));
        match which.read_as_enum(IIR::ID) {
            Some(IIR::ID::Value::BusyDetect) => {
                self.port.read(UART_STATUS);
            }
            Some(IIR::ID::Value::TimeOut) if !self.status().is_set(LSR::DATA_READY) => {
                self.port.read(DATA);
            }
            _ => {}
        }
    }
}
