//! The body of a request, whose bytes come one after the other.

use alloc::vec::Vec;

use crate::http::{Framing, Limits, Refusal};

/// The most bytes of a line before a chunk.
const CHUNK_LINE: usize = 64;

/// A body that is being received.
#[derive(Debug)]
pub struct Body {
    /// Where in the bytes it goes on.
    at: usize,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes, all at once.
    Length(usize),
    /// The line of a chunk.
    Line,
    /// The data of a chunk, and its CR LF.
    Data(usize),
    /// The fields behind the last chunk, which begin there.
    Trailer(usize),
}

/// How far a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyState {
    /// More bytes are needed.
    Partial,
    /// It is complete, and ends before this byte.
    Complete(usize),
}

impl Body {
    /// Begins a body that `framing` tells the length of, behind the byte `at` of what is received.
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`].
    pub fn new(framing: Framing, at: usize, limits: &Limits) -> Result<Body, Refusal> {
        let state = match framing {
            Framing::None => State::Length(0),
            Framing::Length(length) if length > limits.body => return Err(Refusal::BodyTooLarge),
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Line,
        };
        Ok(Body { at, state })
    }

    /// Goes on with `bytes`, which begin with those of the call before, and puts what of the body
    /// is new into `into`.
    ///
    /// # Errors
    /// [`Refusal`]: it isn't one, or too large.
    pub fn next(
        &mut self,
        bytes: &[u8],
        into: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<BodyState, Refusal> {
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            match self.state {
                State::Length(length) => {
                    let Some(body) = rest.get(..length) else {
                        return Ok(BodyState::Partial);
                    };
                    into.extend_from_slice(body);
                    return Ok(BodyState::Complete(self.at + length));
                }
                State::Line => {
                    let Some((size, length)) = chunk_size(rest)? else {
                        return Ok(BodyState::Partial);
                    };
                    if size > limits.body - into.len() {
                        return Err(Refusal::BodyTooLarge);
                    }
                    self.at += length;
                    self.state = match size {
                        0 => State::Trailer(self.at),
                        size => State::Data(size),
                    };
                }
                State::Data(size) => {
                    let Some(data) = rest.get(..size + 2) else {
                        return Ok(BodyState::Partial);
                    };
                    let (data, end) = data.split_at(size);
                    if end != b"\r\n" {
                        return Err(Refusal::Chunk);
                    }
                    into.extend_from_slice(data);
                    self.at += size + 2;
                    self.state = State::Line;
                }
                State::Trailer(from) => {
                    if self.at - from + rest.len() > limits.body {
                        return Err(Refusal::BodyTooLarge);
                    }
                    let Some(length) = line(rest)? else {
                        return Ok(BodyState::Partial);
                    };
                    self.at += length;
                    if length == 2 {
                        return Ok(BodyState::Complete(self.at));
                    }
                }
            }
        }
    }
}

/// Returns the length of the line that `bytes` begin with, with its CR LF.
fn line(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    let Some(lf) = bytes.iter().position(|byte| *byte == b'\n') else {
        return Ok(None);
    };
    let line = &bytes[..lf];
    let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    match line.split_last() {
        Some((b'\r', text)) if text.iter().all(is_text) => Ok(Some(lf + 1)),
        _ => Err(Refusal::Chunk),
    }
}

/// Returns the size that the line of a chunk tells, and the length of that line.
fn chunk_size(bytes: &[u8]) -> Result<Option<(usize, usize)>, Refusal> {
    let Some(length) = line(bytes)? else {
        return match bytes.len() > CHUNK_LINE {
            true => Err(Refusal::Chunk),
            false => Ok(None),
        };
    };
    if length > CHUNK_LINE {
        return Err(Refusal::Chunk);
    }
    // It takes white space alone as 0.
    if !bytes[0].is_ascii_hexdigit() {
        return Err(Refusal::Chunk);
    }
    match httparse::parse_chunk_size(&bytes[..length]) {
        Ok(httparse::Status::Complete((end, size))) if end == length => {
            let size = usize::try_from(size).map_err(|_| Refusal::BodyTooLarge)?;
            Ok(Some((size, length)))
        }
        _ => Err(Refusal::Chunk),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::{Body, BodyState};
    use crate::http::{Framing, Limits, Refusal};

    const LIMITS: Limits = Limits {
        body: 20,
        ..Limits::DEFAULT
    };

    /// Receives a chunked body at once, and byte by byte: both are the same.
    fn chunked(bytes: &[u8]) -> Result<(BodyState, Vec<u8>), Refusal> {
        let new = || Body::new(Framing::Chunked, 0, &LIMITS);
        let mut body = Vec::new();
        let at_once = new()?
            .next(bytes, &mut body, &LIMITS)
            .map(|state| (state, body));
        let (mut slow, mut body, mut last) = (new()?, Vec::new(), Ok(BodyState::Partial));
        for end in 0..=bytes.len() {
            last = slow.next(&bytes[..end], &mut body, &LIMITS);
            if last != Ok(BodyState::Partial) {
                break;
            }
        }
        assert_eq!(
            last.map(|state| (state, body)),
            at_once,
            "{}",
            bytes.escape_ascii()
        );
        at_once
    }

    #[test]
    fn chunks_are_put_together() {
        let is = |end, body: &[u8]| Ok((BodyState::Complete(end), body.to_vec()));
        assert_eq!(chunked(b"0\r\n\r\nGET"), is(5, b""));
        assert_eq!(chunked(b"3\r\n0-3\r\n00\r\n\r\n"), is(14, b"0-3"));
        assert_eq!(
            chunked(b"1;a=\"b\"\r\n0\r\n2\r\n-3\r\n0\r\nx: y\r\n\r\n"),
            is(30, b"0-3")
        );
        assert_eq!(
            chunked(b"14\r\n01234567890123456789\r\n0\r\n\r\n"),
            is(31, b"01234567890123456789")
        );
        assert!(matches!(
            chunked(b"3\r\n0-3\r\n0\r\n"),
            Ok((BodyState::Partial, _))
        ));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bytes in [
            &b"\r\n"[..],
            b" 3\r\n0-3\r\n0\r\n\r\n",
            b"-3\r\n0-3\r\n0\r\n\r\n",
            b"0x3\r\n0-3\r\n0\r\n\r\n",
            b"3\n0-3\r\n0\r\n\r\n",
            b"3\r\n0-34\r\n0\r\n\r\n",
            b"3\r\n0-3\n0\r\n\r\n",
            b"3 4\r\n0-3\r\n0\r\n\r\n",
            b"0\r\nx: \0\r\n\r\n",
            b"10000000000000003\r\n0-3\r\n0\r\n\r\n",
        ] {
            assert_eq!(
                chunked(bytes),
                Err(Refusal::Chunk),
                "{}",
                bytes.escape_ascii()
            );
        }
        let too_large = Err(Refusal::BodyTooLarge);
        assert_eq!(chunked(b"15\r\n0"), too_large);
        assert_eq!(chunked(b"ffffffffffffffff\r\n0"), too_large);
        assert_eq!(chunked(b"0\r\nx: 890123456789012345678\r\n\r\n"), too_large);
    }
}
