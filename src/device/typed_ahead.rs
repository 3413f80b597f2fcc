//! A buffer for bytes that arrive before they are read.
//!
//! The handler of the receive interrupt moves bytes from the UART's small FIFO to this
//! buffer, whatever the reader does meanwhile. The buffer drops nothing. When it is
//! full it turns the interrupt off, and further bytes stay in the UART until the
//! reader has made room. A sender with flow control, or an emulator, waits then.
//! Without flow control the FIFO overruns. The UART reports that, and the buffer keeps
//! [`Received::Lost`] at the place of the gap.

use alloc::collections::VecDeque;

use crate::platform::{Console, Received};

/// How many bytes and gaps the buffer can hold.
const ROOM: usize = 4096;

/// Bytes and gaps that were received and not read yet. A lock of the caller guards it.
#[derive(Debug)]
pub struct TypedAhead {
    /// The received bytes and gaps, oldest first.
    kept: VecDeque<Received>,
    /// Whether the receive interrupt is off because the buffer was full.
    paused: bool,
}

impl TypedAhead {
    /// Returns an empty buffer, without memory: see [`TypedAhead::reserve`].
    #[allow(
        clippy::new_without_default,
        reason = "it is made once, as the initial value of a static"
    )]
    pub const fn new() -> TypedAhead {
        TypedAhead {
            kept: VecDeque::new(),
            paused: false,
        }
    }

    /// Allocates all the memory that the buffer will need.
    pub fn reserve(&mut self) {
        self.kept.reserve_exact(ROOM);
    }

    /// Moves what `console` has received to the buffer, as far as there is room. Turns
    /// the receive interrupt off if the buffer is full, and on again when it isn't.
    ///
    /// # Context
    /// Any, the lock around `self` held. The receive interrupt of `console` is on, unless
    /// an earlier call has turned it off.
    pub fn receive(&mut self, console: &(impl Console + ?Sized)) {
        console.clear_receive_interrupt();
        let mut full = self.kept.len() == ROOM;
        while !full {
            match console.get() {
                None => break,
                // Two gaps without a byte between them are one.
                Some(Received::Lost) if self.kept.back() == Some(&Received::Lost) => {}
                Some(received) => self.kept.push_back(received),
            }
            full = self.kept.len() == ROOM;
        }
        if full != self.paused {
            console.set_receive_interrupt(!full);
            self.paused = full;
        }
    }

    /// Takes the first `byte` out, and all that came before it. Returns how many bytes came
    /// before; `None` if there is no such byte: nothing is taken out then.
    ///
    /// # Context
    /// As [`TypedAhead::receive`].
    pub fn take_through(&mut self, byte: u8, console: &(impl Console + ?Sized)) -> Option<usize> {
        let found = |received: &Received| *received == Received::Byte(byte);
        let before = self.kept.iter().position(found)?;
        self.kept.drain(..=before);
        if self.paused {
            self.receive(console);
        }
        Some(before)
    }

    /// Takes the oldest byte or gap out and returns it; `None` if there is none. If the
    /// buffer was full and is half empty now, receives what `console` has kept meanwhile.
    ///
    /// # Context
    /// As [`TypedAhead::receive`].
    pub fn next(&mut self, console: &(impl Console + ?Sized)) -> Option<Received> {
        let next = self.kept.pop_front();
        if self.paused && self.kept.len() <= ROOM / 2 {
            self.receive(console);
        }
        next
    }
}
