//! CPU lists as people type them: `1-3,8`.
//!
//! The grammar is the common part of Linux's and util-linux's, and the stride form of each,
//! which differ by the slash:
//!
//! ```text
//! list  = item *("," item)          spaces around an item are ignored
//! item  = cpu                       that CPU
//!       | cpu "-" cpu               all CPUs from the first to the second
//!       | cpu "-" cpu ":" n         every n-th of them         (util-linux)
//!       | cpu "-" cpu ":" u "/" g   the first u of every g     (Linux)
//! ```
//!
//! The parser accepts or refuses a list as a whole: it clamps no number and skips no
//! item, so that a typing error never takes down the wrong CPU.
//! Every list that [`CpuMask`] prints, except the empty one, parses to the same mask.
//!
//! # Sources
//! Linux `Documentation/admin-guide/kernel-parameters.rst` ("cpu lists");
//! util-linux `cpulist_parse`.

use core::fmt;

use crate::config::MAX_CPUS;
use crate::cpu::{CpuId, CpuMask};

/// Why a text is not a CPU list, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuListError {
    /// What is wrong.
    pub kind: CpuListErrorKind,
    /// Where, in bytes from the start of the text.
    pub at: usize,
}

/// What can be wrong with a CPU list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuListErrorKind {
    /// A decimal number should be here, and the list or the item ends instead.
    Empty,
    /// A decimal number should be here, and something else is.
    NotANumber,
    /// A CPU number that isn't below [`MAX_CPUS`].
    TooLarge,
    /// A range whose end is below its start.
    Reversed,
    /// A stride or a group of 0, or more CPUs to take of a group than it has.
    BadStride,
    /// A character that belongs to no item.
    Unexpected,
}

impl fmt::Display for CpuListErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a CPU number is missing"),
            Self::NotANumber => f.write_str("not a CPU number"),
            Self::TooLarge => write!(f, "the highest CPU number is {}", MAX_CPUS - 1),
            Self::Reversed => f.write_str("the range ends before it starts"),
            Self::BadStride => f.write_str("the stride or the group is 0 or too large"),
            Self::Unexpected => f.write_str("unexpected character"),
        }
    }
}

impl fmt::Display for CpuListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // People count columns from 1.
        write!(f, "column {}: {}", self.at + 1, self.kind)
    }
}

impl core::error::Error for CpuListError {}

/// Returns the set of CPUs that `list` names; at least one.
///
/// # Errors
/// [`CpuListError`] with the first thing wrong; see [`CpuListErrorKind`].
pub fn parse_cpu_list(list: &str) -> Result<CpuMask, CpuListError> {
    let mut cursor = Cursor {
        text: list.as_bytes(),
        at: 0,
    };
    let mut mask = CpuMask::EMPTY;
    loop {
        cursor.skip_spaces();
        cursor.item(&mut mask)?;
        cursor.skip_spaces();
        if cursor.at == cursor.text.len() {
            return Ok(mask);
        }
        if !cursor.take(b',') {
            return Err(cursor.error(CpuListErrorKind::Unexpected));
        }
    }
}

/// A place in the text.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    /// Returns the error `kind` at this place.
    fn error(&self, kind: CpuListErrorKind) -> CpuListError {
        CpuListError { kind, at: self.at }
    }

    /// Returns the next byte, and stays where it is.
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Goes past `byte` if it is the next one. Returns whether it was.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Takes a decimal number below `limit` and returns it. A larger number is the error
    /// `too_large`.
    fn number(&mut self, limit: usize, too_large: CpuListErrorKind) -> Result<usize, CpuListError> {
        let start = self.at;
        let mut value = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            // This doesn't overflow: `value` is below `limit`, which is at most
            // `usize::MAX / 10`.
            value = value * 10 + usize::from(digit - b'0');
            if value >= limit {
                return Err(CpuListError {
                    kind: too_large,
                    at: start,
                });
            }
            self.at += 1;
        }
        if self.at > start {
            return Ok(value);
        }
        Err(self.error(match self.peek() {
            None | Some(b',') => CpuListErrorKind::Empty,
            Some(_) => CpuListErrorKind::NotANumber,
        }))
    }

    /// Takes a CPU number and returns it.
    fn cpu(&mut self) -> Result<usize, CpuListError> {
        self.number(MAX_CPUS, CpuListErrorKind::TooLarge)
    }

    /// Takes a stride or a group size, which is never 0, and returns it.
    fn stride(&mut self) -> Result<usize, CpuListError> {
        let at = self.at;
        match self.number(usize::MAX / 10, CpuListErrorKind::BadStride)? {
            0 => Err(CpuListError {
                kind: CpuListErrorKind::BadStride,
                at,
            }),
            stride => Ok(stride),
        }
    }

    /// Takes one item and adds its CPUs to `mask`.
    fn item(&mut self, mask: &mut CpuMask) -> Result<(), CpuListError> {
        let start = self.at;
        let first = self.cpu()?;
        let mut last = first;
        let (mut used, mut group) = (1, 1);
        if self.take(b'-') {
            last = self.cpu()?;
            if last < first {
                return Err(CpuListError {
                    kind: CpuListErrorKind::Reversed,
                    at: start,
                });
            }
            if self.take(b':') {
                let at = self.at;
                let number = self.stride()?;
                if self.take(b'/') {
                    (used, group) = (number, self.stride()?);
                } else {
                    group = number;
                }
                if used > group {
                    return Err(CpuListError {
                        kind: CpuListErrorKind::BadStride,
                        at,
                    });
                }
            }
        }
        let chosen = (first..=last).filter(|cpu| (cpu - first) % group < used);
        for cpu in chosen.filter_map(CpuId::new) {
            mask.insert(cpu);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use CpuListErrorKind::{BadStride, Empty, NotANumber, Reversed, TooLarge, Unexpected};
    use std::string::ToString;

    #[test]
    fn takes_what_linux_and_util_linux_take() {
        for (list, printed) in [
            ("0", "0"),
            ("1-3,8", "1-3,8"),
            ("3,1,2,1-2", "1-3"),
            ("007", "7"),
            (" 1 , 2-4 ", "1-4"),
            ("0-9:3", "0,3,6,9"),
            ("0-31:2/8", "0-1,8-9,16-17,24-25"),
            ("5-5:7/9", "5"),
            ("2-511:1000", "2"),
            ("0-511", "0-511"),
        ] {
            assert_eq!(parse_cpu_list(list).unwrap().to_string(), printed, "{list}");
        }
    }

    #[test]
    fn refuses_the_rest_and_says_where() {
        for (list, kind, at) in [
            ("", Empty, 0),
            ("  ", Empty, 2),
            (",", Empty, 0),
            ("1,", Empty, 2),
            ("1,,2", Empty, 2),
            ("1-", Empty, 2),
            ("1-,2", Empty, 2),
            ("abc", NotANumber, 0),
            ("-1", NotANumber, 0),
            ("+1", NotANumber, 0),
            ("1--2", NotANumber, 2),
            ("1 - 2", Unexpected, 2),
            ("1- 2", NotANumber, 2),
            ("1 2", Unexpected, 2),
            ("1:2", Unexpected, 1),
            ("0x1", Unexpected, 1),
            ("0-3x", Unexpected, 3),
            ("0-3:2/4/8", Unexpected, 7),
            ("1;2", Unexpected, 1),
            ("512", TooLarge, 0),
            ("1,0-512", TooLarge, 4),
            ("99999999999999999999999999", TooLarge, 0),
            ("5-2", Reversed, 0),
            ("0-3:0", BadStride, 4),
            ("0-3:0/2", BadStride, 4),
            ("0-3:1/0", BadStride, 6),
            ("0-3:3/2", BadStride, 4),
            ("0-3:99999999999999999999", BadStride, 4),
            ("0-3:", Empty, 4),
            ("0-3:x", NotANumber, 4),
            ("é", NotANumber, 0),
        ] {
            assert_eq!(
                parse_cpu_list(list),
                Err(CpuListError { kind, at }),
                "{list:?}"
            );
        }
    }
}
