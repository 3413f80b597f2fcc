//! Which function an address of the code is in.
//!
//! The Image carries its functions as text, so that a backtrace from a machine
//! without a debugger can be read. `tests/rig/src/image.rs` writes it into a section that
//! the linker script reserves:
//!
//! ```text
//!   1f40 stillpoint::sched::scheduler::Scheduler<P>::idle
//!   2164 <stillpoint::kernel::console::Output as core::fmt::Write>::write_str
//!   2200
//!   22c0 vector_table
//!   (zeroes)
//! ```
//!
//! One function a line: where it begins, in hexadecimal and relative to the Image's
//! first byte, then its name; lines ascend. A function without a name says where
//! the one before ends. A zero byte ends the text.
//!
//! It is read when something is broken, so it is taken for broken too: whatever
//! the bytes, a search ends and reads nothing else.

#![forbid(unsafe_code)]

use core::fmt;

/// The text of all functions.
#[derive(Clone, Copy, Debug)]
pub struct Symbols<'a> {
    text: &'a [u8],
}

/// A place in a function. Prints as `name+0x18`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// The function's name.
    pub name: &'a str,
    /// How many bytes behind its beginning.
    pub offset: usize,
}

impl<'a> Symbols<'a> {
    /// Returns the symbols in `section`, up to the first zero byte.
    pub fn new(section: &'a [u8]) -> Self {
        let end = section.iter().position(|byte| *byte == 0);
        Symbols {
            text: &section[..end.unwrap_or(section.len())],
        }
    }

    /// Returns the function that `offset` is in: the last that begins there or before.
    /// `None` if that has no name.
    ///
    /// * `offset` — from the first byte of the Image
    pub fn find(&self, offset: usize) -> Option<Symbol<'a>> {
        // The line wanted begins in `low..high`; all that begin before it begin
        // at or before `offset`.
        let (mut low, mut high) = (0, self.text.len());
        let mut found = None;
        while low < high {
            let middle = self.line_start(low, low + (high - low) / 2);
            let line = line_at(&self.text[middle..]);
            let (begins, name) = parse(line)?;
            if begins <= offset {
                found = Some((begins, name));
                low = middle + line.len() + 1;
            } else {
                high = middle;
            }
        }
        let (begins, name) = found?;
        let name = core::str::from_utf8(name).ok()?;
        (!name.is_empty()).then_some(Symbol {
            name,
            offset: offset - begins,
        })
    }

    /// As [`Symbols::find`], for the address that a call returns to: it may lie
    /// behind the last instruction of the function that called, if what it called
    /// never returns.
    pub fn find_caller(&self, return_offset: usize) -> Option<Symbol<'a>> {
        let symbol = self.find(return_offset.checked_sub(1)?)?;
        Some(Symbol {
            offset: symbol.offset + 1,
            ..symbol
        })
    }

    /// Returns the beginning of the line that byte `at` is in; `low` begins a line.
    fn line_start(&self, low: usize, at: usize) -> usize {
        let before = self.text[low..at].iter().rposition(|byte| *byte == b'\n');
        before.map_or(low, |newline| low + newline + 1)
    }
}

impl fmt::Display for Symbol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}", self.name, self.offset)
    }
}

/// Returns the first line of `text`, without its end.
fn line_at(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == b'\n');
    &text[..end.unwrap_or(text.len())]
}

/// Returns where the function of a line begins, and its name.
fn parse(line: &[u8]) -> Option<(usize, &[u8])> {
    let (digits, name) = match line.iter().position(|byte| *byte == b' ') {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, &line[line.len()..]),
    };
    let digits = core::str::from_utf8(digits).ok()?;
    Some((usize::from_str_radix(digits, 16).ok()?, name))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    const TEXT: &str =
        "0 _start\n40 a::first\n1f40 b::<impl T>::second\n2000\n2100 last\n\0\0garbage";

    fn name_at(text: &str, offset: usize) -> Option<String> {
        let found = Symbols::new(text.as_bytes()).find(offset);
        found.map(|symbol| symbol.to_string())
    }

    #[test]
    fn an_address_belongs_to_the_function_that_begins_before_it() {
        for (offset, wanted) in [
            (0, "_start+0x0"),
            (0x3f, "_start+0x3f"),
            (0x40, "a::first+0x0"),
            (0x1f3f, "a::first+0x1eff"),
            (0x1f40, "b::<impl T>::second+0x0"),
            (0x1fff, "b::<impl T>::second+0xbf"),
            (0x2100, "last+0x0"),
            (0x9999, "last+0x7899"),
        ] {
            assert_eq!(
                name_at(TEXT, offset).as_deref(),
                Some(wanted),
                "{offset:#x}"
            );
        }
    }

    #[test]
    fn a_function_without_a_name_is_not_its_neighbour() {
        assert_eq!(name_at(TEXT, 0x2000), None);
        assert_eq!(name_at(TEXT, 0x20ff), None);
        assert_eq!(name_at("10 a\n", 0xf), None);
    }

    #[test]
    fn a_return_address_belongs_to_the_call_before_it() {
        let symbols = Symbols::new(TEXT.as_bytes());
        let text = |offset| symbols.find_caller(offset).map(|found| found.to_string());
        assert_eq!(text(0x40).as_deref(), Some("_start+0x40"));
        assert_eq!(text(0x44).as_deref(), Some("a::first+0x4"));
        assert_eq!(text(0), None);
    }

    #[test]
    fn without_text_nothing_is_found() {
        for empty in ["", "\0", "\0\0\0\x3010 a\n"] {
            assert_eq!(name_at(empty, 0x10), None);
        }
    }

    #[test]
    fn every_line_is_found_whatever_their_number_and_length() {
        for count in 1..60_usize {
            let text: String = (0..count)
                .map(|n| format!("{:x} f{}\n", n * 0x11 + 3, "x".repeat(n * 7 % 13)))
                .collect();
            // With a last line that isn't ended, as a cut text has it.
            for text in [text.as_str(), text.trim_end()] {
                for n in 0..count {
                    for inside in [0, 0x10] {
                        let wanted = format!("f{}+{inside:#x}", "x".repeat(n * 7 % 13));
                        assert_eq!(name_at(text, n * 0x11 + 3 + inside), Some(wanted));
                    }
                }
                assert_eq!(name_at(text, 2), None);
            }
        }
    }

    #[test]
    fn whatever_the_bytes_a_search_ends() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 24
        };
        let alphabet = b"0123456789abcdef  \n\n\nxyz:\xff";
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length)
                .map(|_| alphabet[next() as usize % alphabet.len()])
                .collect();
            for offset in [0, 1, 0x1234, usize::MAX] {
                let symbols = Symbols::new(&bytes);
                if let Some(found) = symbols.find(offset) {
                    assert!(found.offset <= offset);
                }
                let _found = symbols.find_caller(offset);
            }
        }
    }
}
