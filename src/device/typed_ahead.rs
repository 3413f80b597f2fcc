//! What is typed before it is asked for.
//!
//! The receive interrupt takes what comes out of the UART's small FIFO and keeps it
//! here, whatever the reader does meanwhile. Nothing in here is ever dropped: where
//! there is no more room the rest stays in the UART, its interrupt off, until the
//! reader has made room. A sender with flow control, or an emulator, waits then;
//! otherwise the FIFO overruns, which the UART tells, and the gap is kept in its
//! place as [`Received::Lost`].

use alloc::collections::VecDeque;

use crate::platform::{Console, Received};

/// Bytes and gaps that are kept.
const ROOM: usize = 4096;

/// What has come and wasn't asked for yet. For the holder of a lock.
#[derive(Debug)]
pub struct TypedAhead {
    kept: VecDeque<Received>,
    /// The receive interrupt is off, for want of room.
    paused: bool,
}

impl TypedAhead {
    /// Nothing, without memory for more.
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

    /// Allocates all the memory that it will need.
    pub fn reserve(&mut self) {
        self.kept.reserve_exact(ROOM);
    }

    /// Takes what `console` has received, as far as there is room.
    ///
    /// # Context
    /// Any, the lock around `self` held; the receive interrupt of `console` is on, but
    /// for want of room.
    pub fn receive(&mut self, console: &(impl Console + ?Sized)) {
        console.clear_receive_interrupt();
        let mut full = self.kept.len() == ROOM;
        while !full {
            match console.get() {
                None => break,
                // Two gaps side by side are one.
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

    /// Takes out what came first. Where that makes room for what `console` still has,
    /// receives it.
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
