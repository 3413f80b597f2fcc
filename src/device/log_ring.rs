//! The last bytes of the log.

/// How many bytes are kept.
const SIZE: usize = 16 * 1024;

/// A ring of bytes: what is added pushes the oldest out. A lock of the caller guards it.
#[derive(Debug)]
pub struct LogRing {
    bytes: [u8; SIZE],
    /// How many bytes were ever added.
    added: usize,
}

impl LogRing {
    /// Returns an empty ring.
    #[allow(
        clippy::new_without_default,
        reason = "it is made once, as the initial value of a static"
    )]
    pub const fn new() -> LogRing {
        LogRing {
            bytes: [0; SIZE],
            added: 0,
        }
    }

    /// Adds `text`.
    pub fn add(&mut self, text: &[u8]) {
        for byte in text {
            self.bytes[self.added % SIZE] = *byte;
            self.added += 1;
        }
    }

    /// Copies to `to` what was added as byte number `from`, counted from the first ever, and
    /// behind it. Returns the number of the first byte that is copied, which is above `from` if
    /// the ring has lost that one, and how many are copied.
    pub fn copy(&self, from: usize, to: &mut [u8]) -> (usize, usize) {
        let from = from.max(self.added.saturating_sub(SIZE)).min(self.added);
        let count = to.len().min(self.added - from);
        for (at, byte) in to[..count].iter_mut().enumerate() {
            *byte = self.bytes[(from + at) % SIZE];
        }
        (from, count)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;

    #[test]
    fn the_newest_bytes_are_kept() {
        let mut ring = LogRing::new();
        let mut out = vec![0; 8];
        assert_eq!(ring.copy(0, &mut out), (0, 0));
        ring.add(b"abc");
        assert_eq!(ring.copy(0, &mut out), (0, 3));
        assert_eq!(&out[..3], b"abc");
        assert_eq!(ring.copy(2, &mut out), (2, 1));
        assert_eq!((out[0], ring.copy(9, &mut out)), (b'c', (3, 0)));
        ring.add(&vec![b'-'; SIZE - 2]);
        ring.add(b"z");
        assert_eq!(ring.copy(0, &mut out), (2, 8));
        assert_eq!(&out[..], b"c-------");
        assert_eq!(ring.copy(SIZE, &mut out), (SIZE, 2));
        assert_eq!(&out[..2], b"-z");
    }
}
