//! What waits to go out to the client.

use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::http::{Answer, Head};

/// How many bytes wait at most before they are sent, although further requests are there.
const FULL: usize = 4096;

/// Bytes that wait: those in a buffer, and behind them text that is part of the program.
pub(super) struct Output {
    buffer: Vec<u8>,
    fixed: &'static [u8],
    /// How many bytes of both have gone out.
    gone: usize,
}

impl Output {
    pub(super) fn new() -> Output {
        Output {
            buffer: Vec::new(),
            fixed: &[],
            gone: 0,
        }
    }

    /// Appends the head of an answer.
    pub(super) fn head(&mut self, head: &Head, answer: &Answer) {
        self.settle();
        head.write(answer, &mut self.buffer);
    }

    /// Appends `text`.
    pub(super) fn text(&mut self, text: &str) {
        self.settle();
        self.buffer.extend_from_slice(text.as_bytes());
    }

    /// Appends `text` as a chunk.
    pub(super) fn chunk(&mut self, text: &str) {
        self.settle();
        let mut size = Bytes(&mut self.buffer);
        let _always_ok = write!(size, "{:x}\r\n", text.len());
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.extend_from_slice(b"\r\n");
    }

    /// Appends `bytes`, which need no copy.
    pub(super) fn fixed(&mut self, bytes: &'static [u8]) {
        self.settle();
        self.fixed = bytes;
    }

    /// Returns whether it is time to send.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() + self.fixed.len() >= FULL
    }

    /// Returns bytes that go out next; `None` if all have.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let gone_of_fixed = self.gone.saturating_sub(self.buffer.len());
        if self.gone < self.buffer.len() {
            return Some(&self.buffer[self.gone..]);
        }
        if gone_of_fixed < self.fixed.len() {
            return Some(&self.fixed[gone_of_fixed..]);
        }
        self.buffer.clear();
        self.buffer.shrink_to(FULL);
        (self.fixed, self.gone) = (&[], 0);
        None
    }

    /// Says that `count` more bytes have gone out.
    pub(super) fn went(&mut self, count: usize) {
        self.gone += count;
    }

    /// Makes the buffer the last of what waits.
    fn settle(&mut self) {
        if !self.fixed.is_empty() {
            self.buffer.extend_from_slice(self.fixed);
            self.fixed = &[];
        }
    }
}

struct Bytes<'a>(&'a mut Vec<u8>);

impl core::fmt::Write for Bytes<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
