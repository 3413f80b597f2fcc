//! Text that came from outside, as it may be printed.
//!
//! A terminal acts on control characters: it clears what was said before, or moves to
//! where something else stands. What a device tree, a command line or a person wrote is
//! printed with each of them written out, `\n` or `\u{1b}`.
#![forbid(unsafe_code)]

use core::fmt::{self, Write};

/// Prints bytes, or what a format comes to, with control characters written out, and
/// U+FFFD for what is not UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<T>(pub T);

impl fmt::Display for Escaped<&[u8]> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            Writer(f).write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Escaped<fmt::Arguments<'_>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Writer(f).write_fmt(self.0)
    }
}

struct Writer<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Writer<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            match part.chars().next_back().filter(|last| last.is_control()) {
                None => self.0.write_str(part)?,
                Some(control) => {
                    let plain = part.strip_suffix(control).unwrap_or_default();
                    write!(self.0, "{plain}{}", control.escape_default())?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn control_characters_are_written_out_and_nothing_else() {
        for (text, printed) in [
            ("", ""),
            ("a b\\c é ü", "a b\\c é ü"),
            ("\x1b[31mred", "\\u{1b}[31mred"),
            ("a\nb\r\tc\0", "a\\nb\\r\\tc\\u{0}"),
            ("\x7f\u{9b}2J\x07", "\\u{7f}\\u{9b}2J\\u{7}"),
        ] {
            assert_eq!(Escaped(text.as_bytes()).to_string(), printed);
            assert_eq!(
                Escaped(format_args!("<{text}>")).to_string(),
                std::format!("<{printed}>")
            );
        }
        assert_eq!(
            Escaped(&b"J\xfcrgen\x1b"[..]).to_string(),
            "J\u{fffd}rgen\\u{1b}"
        );
    }
}
