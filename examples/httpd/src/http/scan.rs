//! Finds the end of a request's head in the bytes that have come so far.
//!
//! It looks at each byte once, however slowly they come, and it finds what could make two
//! readers of the same bytes disagree: a CR or LF alone, a NUL, a folded field. So whatever
//! parses the head afterwards sees lines that end in one way only.

use crate::http::{Limits, Refusal};

/// The scan of one head. The bytes that it is given each time begin with the same ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    /// How many bytes it has looked at.
    looked: usize,
    /// Where the head begins: behind an empty line, if there is one.
    start: usize,
    /// Where the line begins that isn't complete.
    line: usize,
    /// How many lines of the head are complete.
    lines: usize,
}

/// A head that is complete: where it begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The first byte of the request line.
    pub start: usize,
    /// The byte behind the empty line.
    pub end: usize,
}

impl Scan {
    /// Looks at what of `bytes` is new. Returns where the head is, if it is complete.
    ///
    /// # Errors
    /// [`Refusal`]: the bytes begin no request, or one beyond a limit.
    pub fn next(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Found>, Refusal> {
        while let Some(byte) = bytes.get(self.looked) {
            let after_cr = self.looked > self.line && bytes[self.looked - 1] == b'\r';
            self.looked += 1;
            match byte {
                b'\n' if !after_cr => return Err(Refusal::BareLf),
                b'\n' => {
                    if let Some(found) = self.end_line(limits)? {
                        return Ok(Some(found));
                    }
                }
                _ if after_cr => return Err(Refusal::BareCr),
                0 => return Err(Refusal::Nul),
                b' ' | b'\t' if self.lines > 0 && self.looked == self.line + 1 => {
                    return Err(Refusal::Folded);
                }
                _ => self.check(limits)?,
            }
        }
        Ok(None)
    }

    /// Checks the limits after a byte of a line.
    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        // The CR isn't known to be one yet.
        if self.lines == 0 && self.looked - self.line > limits.line + 1 {
            return Err(Refusal::LineTooLong);
        }
        if self.looked - self.start > limits.head {
            return Err(Refusal::HeadTooLarge);
        }
        Ok(())
    }

    /// Ends the line whose CR and LF it has just seen.
    fn end_line(&mut self, limits: &Limits) -> Result<Option<Found>, Refusal> {
        let length = self.looked - self.line - 2;
        if self.lines == 0 && length > limits.line {
            return Err(Refusal::LineTooLong);
        }
        if self.looked - self.start > limits.head {
            return Err(Refusal::HeadTooLarge);
        }
        let is_empty = length == 0;
        self.line = self.looked;
        match (is_empty, self.lines) {
            // One is ignored: some clients send it behind a body (RFC 9112, 2.2).
            (true, 0) if self.start == 0 => self.start = self.looked,
            (true, 0) => return Err(Refusal::EmptyLines),
            (true, _) => {
                return Ok(Some(Found {
                    start: self.start,
                    end: self.looked,
                }));
            }
            (false, lines) if lines > limits.fields => return Err(Refusal::HeadTooLarge),
            (false, _) => self.lines += 1,
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, Scan};
    use crate::http::{Limits, Refusal};

    const LIMITS: Limits = Limits {
        line: 20,
        head: 60,
        fields: 3,
        ..Limits::DEFAULT
    };

    /// Scans `bytes` at once, and byte by byte: both see the same.
    fn scan(bytes: &[u8]) -> Result<Option<Found>, Refusal> {
        let at_once = Scan::default().next(bytes, &LIMITS);
        let mut slow = Scan::default();
        let mut last = Ok(None);
        for end in 0..=bytes.len() {
            last = slow.next(&bytes[..end], &LIMITS);
            if last != Ok(None) {
                break;
            }
        }
        assert_eq!(last, at_once, "{}", bytes.escape_ascii());
        at_once
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        let found = |start, end| Ok(Some(Found { start, end }));
        assert_eq!(scan(b"GET / HTTP/1.0\r\n\r\nGET"), found(0, 18));
        assert_eq!(scan(b"\r\nGET / HTTP/1.0\r\n\r\n"), found(2, 20));
        assert_eq!(scan(b"GET / HTTP/1.0\r\na: b\r\n\r"), Ok(None));
        assert_eq!(scan(b""), Ok(None));
    }

    #[test]
    fn lines_end_in_one_way_only() {
        for (bytes, refusal) in [
            (&b"GET / HTTP/1.0\n\n"[..], Refusal::BareLf),
            (b"GET / HTTP/1.0\r\r\n", Refusal::BareCr),
            (b"GET / HTTP/1.0\r\na: \rb\r\n\r\n", Refusal::BareCr),
            (b"GET / HTTP/1.0\r\na: b\r\n c\r\n\r\n", Refusal::Folded),
            (b"GET / HTTP/1.0\r\n\ta: b\r\n\r\n", Refusal::Folded),
            (b"GET /\0 HTTP/1.0\r\n", Refusal::Nul),
            (b"\r\n\r\nGET / HTTP/1.0\r\n", Refusal::EmptyLines),
            (b"\n", Refusal::BareLf),
        ] {
            assert_eq!(scan(bytes), Err(refusal), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_at_a_limit_is_taken_and_what_is_above_is_not() {
        assert!(scan(b"GET /56789 HTTP/1.00\r\n\r\n").is_ok_and(|it| it.is_some()));
        assert_eq!(
            scan(b"GET /567890 HTTP/1.00\r\n\r\n"),
            Err(Refusal::LineTooLong)
        );
        assert!(scan(b"G\r\na:\r\nb:\r\nc:\r\n\r\n").is_ok_and(|it| it.is_some()));
        assert_eq!(
            scan(b"G\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n"),
            Err(Refusal::HeadTooLarge)
        );
        let mut long = b"G\r\na: ".to_vec();
        long.resize(56, b'x');
        long.extend(b"\r\n\r\n");
        assert!(scan(&long).is_ok_and(|it| it.is_some()), "60 bytes");
        long.insert(10, b'x');
        assert_eq!(scan(&long), Err(Refusal::HeadTooLarge));
    }
}
