//! The 16550 and its relatives, the BCM2835's mini UART among them.
//!
//! The baud rate and the format of a character are left as firmware set them: often
//! only firmware knows which clock feeds the divisor. Of the rest only what a driver must
//! have is set.
//!
//! A byte goes out when the transmitter's FIFO has room for one that nothing has to
//! guess: a 16550 says only "empty", a mini UART "not full", both with the same bit.
//!
//! # Concurrency
//! As said at [`Console`]: the caller holds the console lock, or has broken it. In
//! the second case each access is still a single load or store of a register, and
//! at worst a byte is lost.
//!
//! # Sources
//! - PC16550D, *Universal Asynchronous Receiver/Transmitter with FIFOs*: RBR, THR,
//!   IER, IIR, FCR, LCR, MCR, LSR.
//! - *BCM2835 ARM Peripherals*, 2.2, Mini UART. The copies of that document differ
//!   about AUX_MU_IER_REG: some exchange bits 0 and 1. It is as in a 16550, bit 0
//!   for receive, and bit 2 has to be set beside it (the errata at
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
        /// A byte has come.
        RECEIVE OFFSET(0) NUMBITS(1) [],
        /// Something was wrong with one.
        LINE_STATUS OFFSET(2) NUMBITS(1) [],
    ],
    /// Interrupt identification.
    IIR [
        /// Which interrupt there is.
        ID OFFSET(0) NUMBITS(4) [
            /// Bytes have lain in the FIFO for a while.
            TimeOut = 0xc,
            /// A DesignWare's LCR was written while it was busy.
            BusyDetect = 0x7,
        ],
        /// The FIFOs are on.
        FIFOS OFFSET(6) NUMBITS(2) [ On = 0b11 ],
    ],
    /// FIFO control.
    FCR [
        /// FIFOs on. With all else 0: "a byte has come" from the first byte on, and
        /// nothing is cleared.
        ENABLE OFFSET(0) NUMBITS(1) [],
    ],
    /// Line control.
    LCR [
        /// Registers 0 and 1 are the divisor's.
        DIVISOR_LATCH OFFSET(7) NUMBITS(1) [],
    ],
    /// Modem control.
    MCR [
        /// On a PC, the gate of the interrupt line.
        OUT2 OFFSET(3) NUMBITS(1) [],
    ],
    /// Line status.
    LSR [
        /// There is a byte.
        DATA_READY OFFSET(0) NUMBITS(1) [],
        /// A byte came for which there was no room; reading LSR clears it. It is not
        /// told behind which of the FIFO's bytes that was.
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

/// What is read where no device answers. No UART says so: with an error in the FIFO
/// (bit 7) there is a byte, and it isn't all errors while the transmitter is idle.
pub(super) const NOBODY: u8 = 0xff;

/// The bytes of the largest FIFO.
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
    /// Synopsys' DesignWare APB UART, which has two habits of its own: an interrupt
    /// that only reading USR ends, and a time-out without a byte.
    DesignWare,
    /// The BCM2835's mini UART: has no parity, and doesn't say what it reads in the
    /// bits that would tell of one.
    MiniUart,
}

/// Where the registers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Which kind it is.
    pub model: Model,
    /// From one register to the next it is `1 << shift` bytes.
    pub shift: u32,
    /// How they are accessed.
    pub width: RegisterWidth,
}

impl Layout {
    /// The mini UART's, which its node needn't say.
    pub const MINI_UART: Layout = Layout {
        model: Model::MiniUart,
        shift: 2,
        width: RegisterWidth::Word,
    };

    /// Returns the number of bytes from the first register to the end of the last one that
    /// is used; `None` if no UART can be so.
    pub const fn size(self) -> Option<u32> {
        // Real ones have 0, 1 and 2.
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

/// A UART's registers, by their number, and the time.
pub trait Port: Sync {
    /// Reads a register.
    fn read(&self, register: u32) -> u8;

    /// Writes a register.
    fn write(&self, register: u32, value: u8);

    /// Polls `done` until it is true or `limit` has passed, once at least; returns
    /// whether it became true.
    fn poll(&self, limit: Duration, done: impl FnMut() -> bool) -> bool;
}

/// A 16550 or a relative of it.
#[derive(Debug)]
pub struct Ns16550<P> {
    port: P,
    model: Model,
    patience: Patience,
    /// Whether an overrun was read in the line status, which clears it there, that `get`
    /// hasn't told yet. Relaxed: it orders nothing. Should `get` on another CPU come
    /// between a read in `put` and its store here, the bytes that it takes are still
    /// those before the gap.
    overrun: AtomicBool,
}

impl<P: Port> Ns16550<P> {
    /// Returns the UART at `port`, taken as firmware left it. Touches nothing.
    pub fn as_it_is(port: P, model: Model) -> Ns16550<P> {
        Ns16550 {
            port,
            model,
            patience: Patience::new(),
            overrun: AtomicBool::new(false),
        }
    }

    /// Takes the UART at `port` over from firmware, its interrupts off.
    pub fn new(port: P, model: Model) -> Ns16550<P> {
        let uart = Ns16550::as_it_is(port, model);
        // Turning the FIFOs on empties them, and a DesignWare that is busy doesn't
        // let LCR be written: firmware's last words first. If they don't end we can
        // but go on.
        let idle = || uart.status().is_set(LSR::IDLE);
        uart.port.poll(ROOM_LIMIT, idle);
        let mut line = LocalRegisterCopy::new(uart.port.read(LINE_CONTROL));
        if line.is_set(LCR::DIVISOR_LATCH) {
            line.modify(LCR::DIVISOR_LATCH::CLEAR);
            uart.port.write(LINE_CONTROL, line.get());
        }
        uart.port.write(INTERRUPT_ENABLE, 0);
        // Turning the FIFOs on would drop what has come by now; without them the UART
        // is as good for an emulator, and tells when it overruns. A mini UART's are
        // always on.
        let which = LocalRegisterCopy::<u8, IIR::Register>::new(uart.port.read(INTERRUPT_ID));
        if which.matches_all(IIR::FIFOS::On) || !uart.status().is_set(LSR::DATA_READY) {
            uart.port.write(FIFO_CONTROL, FCR::ENABLE::SET.value);
        }
        uart
    }

    /// Reads the line status, and keeps in mind an overrun that it tells.
    fn status(&self) -> LocalRegisterCopy<u8, LSR::Register> {
        let status = LocalRegisterCopy::new(self.port.read(LINE_STATUS));
        if status.is_set(LSR::OVERRUN) && status.get() != NOBODY {
            self.overrun.store(true, Ordering::Relaxed);
        }
        status
    }

    /// Drops the bytes of the receive FIFO.
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

    /// After an overrun the bytes of the FIFO are dropped: the gap is behind one of
    /// them, and nothing says behind which.
    fn get(&self) -> Option<Received> {
        let status = self.status();
        if status.get() == NOBODY {
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

    /// Reading the bytes acknowledges; here goes only what would stay without any.
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
