//! Fake UARTs. Time passes only when a driver waits.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use stillpoint::device::Port;

/// The model of a fake UART.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chip {
    /// An 8250: no FIFO, and register 2 can't be written.
    Ns8250,
    /// A 16550: FIFOs of 16 bytes, once they are turned on. Its status shows room only if the
    /// transmit FIFO is empty.
    Ns16550,
    /// A DesignWare UART: as a 16550, with FIFOs of 32 bytes and an interrupt of its own.
    DesignWare,
    /// A mini UART: FIFOs of 8 bytes, which are always on. Its status shows room if the
    /// transmit FIFO is not full.
    MiniUart,
}

/// How long the transmission of a byte takes at 115200 baud.
const BYTE: Duration = Duration::from_nanos(86_806);
/// How long one turn of a polling loop takes.
const TURN: Duration = Duration::from_micros(2);

struct State {
    now: Duration,
    /// The bytes that wait to be sent, and the time at which the first of them is sent.
    waiting: VecDeque<u8>,
    out_at: Duration,
    sending: bool,
    sent: Vec<u8>,
    lost: usize,
    writes: usize,
    /// The bytes that were received, each with whether it has no error.
    come: VecDeque<(u8, bool)>,
    overrun: bool,
    fifos: bool,
    line_control: u8,
    divisor: [u8; 2],
    modem_control: u8,
    enabled: u8,
    busy_detect: bool,
    time_out: bool,
    reserved: u8,
    plugged: bool,
}

pub(crate) struct FakeUart {
    chip: Chip,
    state: Mutex<State>,
}

impl FakeUart {
    /// Returns a UART that firmware has set up and not used.
    pub(crate) fn new(chip: Chip) -> FakeUart {
        FakeUart {
            chip,
            state: Mutex::new(State {
                now: Duration::ZERO,
                waiting: VecDeque::new(),
                out_at: Duration::ZERO,
                sending: true,
                sent: Vec::new(),
                lost: 0,
                writes: 0,
                come: VecDeque::new(),
                overrun: false,
                fifos: chip == Chip::MiniUart,
                line_control: 0b11,
                divisor: [13, 0],
                modem_control: 0,
                enabled: 0,
                busy_detect: false,
                time_out: false,
                reserved: 0,
                plugged: true,
            }),
        }
    }

    pub(crate) fn chip(&self) -> Chip {
        self.chip
    }

    pub(crate) fn now(&self) -> Duration {
        self.state.lock().unwrap().now
    }

    pub(crate) fn sent(&self) -> Vec<u8> {
        self.rest();
        self.state.lock().unwrap().sent.clone()
    }

    pub(crate) fn lost(&self) -> usize {
        self.state.lock().unwrap().lost
    }

    pub(crate) fn writes(&self) -> usize {
        self.state.lock().unwrap().writes
    }

    /// Returns the divisor and the format of a character.
    pub(crate) fn line(&self) -> ([u8; 2], u8) {
        let state = self.state.lock().unwrap();
        (state.divisor, state.line_control & 0x7f)
    }

    /// Lets time pass until all bytes are sent.
    pub(crate) fn rest(&self) {
        self.pass(BYTE * 100);
    }

    pub(crate) fn stop_sending(&self, stop: bool) {
        let mut state = self.state.lock().unwrap();
        state.sending = !stop;
        state.out_at = state.now + BYTE;
    }

    pub(crate) fn firmware_says(&self, text: &[u8]) {
        let mut state = self.state.lock().unwrap();
        state.waiting.extend(text);
        state.out_at = state.now + BYTE;
    }

    pub(crate) fn firmware_leaves_divisor_latch(&self) {
        self.state.lock().unwrap().line_control |= 0x80;
    }

    pub(crate) fn firmware_wrote_line_while_busy(&self) {
        self.state.lock().unwrap().busy_detect = true;
    }

    pub(crate) fn times_out_without_byte(&self) {
        self.state.lock().unwrap().time_out = true;
    }

    pub(crate) fn reserved_bits_read(&self, bits: u8) {
        self.state.lock().unwrap().reserved = bits;
    }

    pub(crate) fn unplug(&self) {
        self.state.lock().unwrap().plugged = false;
    }

    /// Returns the bytes that were received and not read.
    pub(crate) fn input(&self) -> usize {
        self.state.lock().unwrap().come.len()
    }

    pub(crate) fn types(&self, text: &[u8]) {
        for byte in text {
            self.receives((*byte, true));
        }
    }

    pub(crate) fn types_damaged(&self, byte: u8) {
        self.receives((byte, false));
    }

    /// Returns the level of the interrupt line, behind the gate (OUT2) that a PC has.
    pub(crate) fn raises_interrupt(&self) -> bool {
        let state = self.state.lock().unwrap();
        let gate = self.chip == Chip::MiniUart || state.modem_control & 8 != 0;
        gate && self.cause(&state).is_some()
    }

    fn depth(&self, state: &State) -> usize {
        match self.chip {
            Chip::MiniUart => 8,
            Chip::Ns16550 if state.fifos => 16,
            Chip::DesignWare if state.fifos => 32,
            _ => 1,
        }
    }

    fn receives(&self, byte: (u8, bool)) {
        let mut state = self.state.lock().unwrap();
        let depth = self.depth(&state);
        if state.come.len() == depth {
            state.overrun = true;
            // Without a FIFO the new byte overwrites the old one.
            if depth == 1 {
                state.come[0] = byte;
            }
        } else {
            state.come.push_back(byte);
        }
    }

    fn pass(&self, time: Duration) {
        let mut state = self.state.lock().unwrap();
        state.now += time;
        while state.sending && !state.waiting.is_empty() && state.out_at <= state.now {
            let byte = state.waiting.pop_front().unwrap();
            state.sent.push(byte);
            state.out_at += BYTE;
        }
    }

    /// Returns the number in IIR of the pending interrupt.
    fn cause(&self, state: &State) -> Option<u8> {
        let damaged = state.come.front().is_some_and(|(_, whole)| !whole);
        let on = |bit: u8| state.enabled & bit != 0;
        // A mini UART raises the receive interrupt only if bit 2 is set beside bit 0.
        let receive = on(1) && (self.chip != Chip::MiniUart || on(4));
        if on(4) && (damaged || state.overrun) && self.chip != Chip::MiniUart {
            Some(0x6)
        } else if receive && !state.come.is_empty() {
            Some(0x4)
        } else if receive && state.time_out {
            Some(0xc)
        } else if on(2) && state.waiting.is_empty() {
            Some(0x2)
        } else {
            state.busy_detect.then_some(0x7)
        }
    }

    fn line_status(&self, state: &mut State) -> u8 {
        let mut status = state.reserved;
        if let Some((_, whole)) = state.come.front() {
            status |= 1;
            if !whole {
                status |= 1 << 3;
            }
        }
        if state.overrun {
            state.overrun = false;
            status |= 1 << 1;
        }
        let room = match self.chip {
            Chip::MiniUart => state.waiting.len() < 8,
            _ => state.waiting.is_empty(),
        };
        if room {
            status |= 1 << 5;
        }
        if state.waiting.is_empty() {
            status |= 1 << 6;
        }
        status
    }
}

impl Port for &FakeUart {
    fn read(&self, register: u32) -> u8 {
        let mut guard = self.state.lock().unwrap();
        let state = &mut *guard;
        if !state.plugged {
            return 0xff;
        }
        match register {
            0 | 1 if state.line_control & 0x80 != 0 => {
                state.divisor[usize::try_from(register).unwrap()]
            }
            0 => {
                state.time_out = false;
                state.come.pop_front().map_or(0, |(byte, _)| byte)
            }
            1 => state.enabled,
            2 => {
                let fifos = if state.fifos { 0xc0 } else { 0 };
                fifos | self.cause(state).unwrap_or(1)
            }
            3 => state.line_control,
            4 => state.modem_control,
            5 => self.line_status(state),
            31 if self.chip == Chip::DesignWare => {
                state.busy_detect = false;
                u8::from(!state.waiting.is_empty())
            }
            _ => panic!("{:?} has no register {register} to read", self.chip),
        }
    }

    fn write(&self, register: u32, value: u8) {
        let mut guard = self.state.lock().unwrap();
        let state = &mut *guard;
        state.writes += 1;
        match register {
            0 | 1 if state.line_control & 0x80 != 0 => {
                state.divisor[usize::try_from(register).unwrap()] = value;
            }
            0 if state.waiting.len() >= self.depth(state) => state.lost += 1,
            0 => {
                if state.waiting.is_empty() {
                    state.out_at = state.now + BYTE;
                }
                state.waiting.push_back(value);
            }
            1 => state.enabled = value,
            2 if self.chip == Chip::Ns8250 => {}
            2 if self.chip == Chip::MiniUart => {
                if value & 2 != 0 {
                    state.come.clear();
                }
                if value & 4 != 0 {
                    state.waiting.clear();
                }
            }
            2 => {
                if state.fifos != (value & 1 != 0) {
                    state.fifos = value & 1 != 0;
                    state.come.clear();
                    state.waiting.clear();
                }
            }
            // A DesignWare UART ignores the write while it is busy, and raises an interrupt.
            3 if self.chip == Chip::DesignWare && !state.waiting.is_empty() => {
                state.busy_detect = true;
            }
            3 => state.line_control = value,
            4 => state.modem_control = value,
            _ => panic!("{:?} has no register {register} to write", self.chip),
        }
    }

    fn poll(&self, limit: Duration, mut done: impl FnMut() -> bool) -> bool {
        let end = self.now() + limit;
        while self.now() < end {
            if done() {
                return true;
            }
            self.pass(TURN);
        }
        done()
    }
}
