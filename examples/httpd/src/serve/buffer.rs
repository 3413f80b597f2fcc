//! The bytes of requests that have come and are not answered.

use alloc::vec::Vec;

/// How many bytes there is room for at first, and how many are kept between requests.
const FIRST: usize = 1024;

/// Bytes in a buffer that grows as far as the limits let a request be.
pub(super) struct Input {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

impl Input {
    pub(super) fn new() -> Input {
        Input {
            buffer: Vec::new(),
            from: 0,
            to: 0,
        }
    }

    /// Returns the bytes that are there.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    /// Returns room for more bytes, at least one. The bytes that are there may move.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
        }
        if self.to == self.buffer.len() {
            let length = (2 * self.buffer.len()).max(FIRST);
            self.buffer.resize(length, 0);
        }
        &mut self.buffer[self.to..]
    }

    /// Says that the first `count` bytes of the room are bytes that have come.
    pub(super) fn came(&mut self, count: usize) {
        self.to = (self.to + count).min(self.buffer.len());
    }

    /// Drops the first `count` bytes.
    pub(super) fn drop_first(&mut self, count: usize) {
        self.from = (self.from + count).min(self.to);
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
            if self.buffer.len() > FIRST {
                self.buffer.truncate(FIRST);
                self.buffer.shrink_to_fit();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST, Input};

    #[test]
    fn bytes_come_and_go() {
        let mut input = Input::new();
        input.space()[..5].copy_from_slice(b"01234");
        input.came(5);
        input.drop_first(2);
        assert_eq!(input.bytes(), b"234");
        let space = input.space();
        assert_eq!(space.len(), FIRST - 3);
        space[0] = b'5';
        input.came(1);
        assert_eq!(input.bytes(), b"2345");
        input.came(FIRST - 4);
        assert_eq!(input.space().len(), FIRST, "it has grown");
        input.drop_first(FIRST);
        assert_eq!(input.bytes(), b"");
        assert_eq!(input.space().len(), FIRST, "and shrunk");
    }
}
