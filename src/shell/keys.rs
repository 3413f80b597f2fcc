//! From the bytes of a terminal, or of a pipe, to keys.
//!
//! # States
//!
//! ```text
//!            ESC              [                    0x40..=0x7e
//!  Ground ────────▶ Escape ────────▶ Csi ─────────────────────▶ Ground
//!    │  ▲             │ O  ────────▶ Ss3 ── any ──────────────▶ Ground
//!    │  └─────────────┘ anything else
//!    └── 0xc2..=0xf4 ──▶ Utf8 ── the last continuation byte ──▶ Ground
//! ```
//!
//! A second `[` leads from Csi to Function, where any byte leads to Ground.
//!
//! # Invariants
//! - **control-byte-ends**: a control byte ends a sequence that has begun and keeps its
//!   own meaning, so a broken sequence never swallows an Enter or a Ctrl-C. Only Backspace
//!   behind ESC is another key, Alt-Backspace.
//! - **char-is-printable**: a [`Key::Char`] is a valid `char` that is not a control
//!   character.
//! - **one-enter**: CR, LF and CR LF are one Enter each.
//! - **damage-is-reported**: a byte that is not valid text is reported as
//!   [`Key::Damaged`] and never dropped silently, because the line then differs from
//!   what was sent.
//!
//! # Sources
//! ECMA-48 (control sequences, CPR); xterm's control sequences (SS3 in application
//! mode, `~` keys); the default keymap of Linux's console (`ESC [ [ A`); RFC 3629 (UTF-8).

/// A key, or a damaged byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A character of text.
    Char(char),
    /// End of the line.
    Enter,
    /// Backspace (both codes), Ctrl-H.
    Backspace,
    /// Delete, Ctrl-D.
    Delete,
    /// Left, Ctrl-B.
    Left,
    /// Right, Ctrl-F.
    Right,
    /// Ctrl-Left, Alt-Left, Alt-B.
    WordLeft,
    /// Ctrl-Right, Alt-Right, Alt-F.
    WordRight,
    /// Up, Ctrl-P.
    Up,
    /// Down, Ctrl-N.
    Down,
    /// Home, Ctrl-A.
    Home,
    /// End, Ctrl-E.
    End,
    /// Ctrl-U.
    KillToStart,
    /// Ctrl-K.
    KillToEnd,
    /// Ctrl-W, Alt-Backspace.
    KillWord,
    /// Tab.
    Complete,
    /// Ctrl-L.
    ClearScreen,
    /// Ctrl-C.
    Interrupt,
    /// Alt-D.
    KillWordRight,
    /// Ctrl-R.
    Search,
    /// Ctrl-G.
    Abort,
    /// The terminal's answer where its cursor is: in this column, counted from 1.
    Position(u16),
    /// A key that does nothing here.
    Unknown,
    /// Bytes that are not UTF-8.
    Damaged,
}

/// Which part of a sequence the decoder has seen.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Not in a sequence.
    Ground,
    /// After ESC.
    Escape,
    /// After ESC O.
    Ss3,
    /// After ESC [ [, with which Linux's console begins the first function keys.
    Function,
    /// After ESC [: holds the first parameter as read so far, which saturates.
    Csi(u16),
    /// In a character of UTF-8: its bytes so far, their number, and the number of bytes
    /// that it has.
    Utf8([u8; 4], usize, usize),
}

/// The decoder.
#[derive(Debug)]
pub(super) struct Keys {
    /// The sequence that the decoder is in.
    state: State,
    /// Whether the last byte was a CR, so that a LF belongs to the same Enter.
    last_was_cr: bool,
    /// The second parameter of the control sequence, which for a key says which modifier keys
    /// were held down; `None` while the first parameter is read. A third one replaces it.
    second: Option<u16>,
}

const ESCAPE: u8 = 0x1b;

impl Keys {
    pub(super) const fn new() -> Keys {
        Keys {
            state: State::Ground,
            last_was_cr: false,
            second: None,
        }
    }

    /// Takes a byte, and returns the keys that it completes: none, one, or two if the
    /// byte also shows that the bytes before it were damaged.
    pub(super) fn feed(&mut self, byte: u8) -> impl Iterator<Item = Key> + use<> {
        let last_was_cr = core::mem::replace(&mut self.last_was_cr, byte == b'\r');
        let state = core::mem::replace(&mut self.state, State::Ground);
        let keys = match state {
            State::Utf8(..) if !is_continuation(byte) => {
                [Some(Key::Damaged), self.ground(byte, last_was_cr)]
            }
            State::Utf8(bytes, len, needs) => [self.utf8(bytes, len, needs, byte), None],
            State::Escape if byte == 0x7f || byte == 0x08 => [Some(Key::KillWord), None],
            // (control-byte-ends)
            _ if byte.is_ascii_control() => [self.ground(byte, last_was_cr), None],
            State::Ground => [self.ground(byte, last_was_cr), None],
            State::Escape => [self.escape(byte), None],
            State::Ss3 | State::Function if !byte.is_ascii() => [Some(Key::Damaged), None],
            State::Ss3 => [Some(letter_key(byte)), None],
            State::Function => [Some(Key::Unknown), None],
            State::Csi(parameter) => [self.csi(parameter, byte), None],
        };
        keys.into_iter().flatten()
    }

    /// Takes a byte outside of a sequence. Returns its key, or `None` if it begins a sequence
    /// or is the LF of a CR LF.
    fn ground(&mut self, byte: u8, last_was_cr: bool) -> Option<Key> {
        Some(match byte {
            b'\n' if last_was_cr => return None, // (one-enter)
            b'\r' | b'\n' => Key::Enter,
            ESCAPE => {
                self.state = State::Escape;
                return None;
            }
            0x08 | 0x7f => Key::Backspace,
            0x01 => Key::Home,
            0x02 => Key::Left,
            0x03 => Key::Interrupt,
            0x04 => Key::Delete,
            0x05 => Key::End,
            0x06 => Key::Right,
            0x07 => Key::Abort,
            0x09 => Key::Complete,
            0x0b => Key::KillToEnd,
            0x0c => Key::ClearScreen,
            0x0e => Key::Down,
            0x10 => Key::Up,
            0x12 => Key::Search,
            0x15 => Key::KillToStart,
            0x17 => Key::KillWord,
            0x00..0x20 => Key::Unknown,
            0x20..0x7f => Key::Char(char::from(byte)),
            0x80.. => {
                let needs = match byte {
                    0xc2..=0xdf => 2,
                    0xe0..=0xef => 3,
                    0xf0..=0xf4 => 4,
                    _ => return Some(Key::Damaged),
                };
                self.state = State::Utf8([byte, 0, 0, 0], 1, needs);
                return None;
            }
        })
    }

    /// Takes a continuation byte of a character that has `len` of its `needs` bytes. Returns
    /// the key of the whole character, or `None` if bytes are missing.
    fn utf8(&mut self, mut bytes: [u8; 4], len: usize, needs: usize, byte: u8) -> Option<Key> {
        bytes[len] = byte;
        let len = len + 1;
        if len < needs {
            self.state = State::Utf8(bytes, len, needs);
            return None;
        }
        let text = core::str::from_utf8(&bytes[..len]).ok();
        Some(match text.and_then(|text| text.chars().next()) {
            Some(c) if c.is_control() => Key::Unknown, // (char-is-printable)
            Some(c) => Key::Char(c),
            None => Key::Damaged, // (damage-is-reported)
        })
    }

    /// Takes the byte after ESC. Returns its key, or `None` if a longer sequence begins.
    fn escape(&mut self, byte: u8) -> Option<Key> {
        match byte {
            b'[' => {
                self.state = State::Csi(0);
                self.second = None;
                None
            }
            b'O' => {
                self.state = State::Ss3;
                None
            }
            b'b' => Some(Key::WordLeft),
            b'f' => Some(Key::WordRight),
            b'd' => Some(Key::KillWordRight),
            _ => Some(Key::Unknown),
        }
    }

    /// Returns whether an arrow key moves by words, which it does with Alt or Ctrl. xterm
    /// sends 1 plus the sum of the modifiers, where Alt is 2 and Ctrl is 4.
    fn jumps(&self) -> bool {
        matches!(self.second, Some(3 | 5))
    }

    /// Takes a byte of a control sequence, of which `parameter` is the first parameter so
    /// far. Returns the key of the whole sequence, or `None` if it goes on.
    fn csi(&mut self, parameter: u16, byte: u8) -> Option<Key> {
        match byte {
            b'[' if parameter == 0 && self.second.is_none() => {
                self.state = State::Function;
                None
            }
            b'~' => Some(match parameter {
                1 | 7 => Key::Home,
                3 => Key::Delete,
                4 | 8 => Key::End,
                _ => Key::Unknown,
            }),
            b'R' => Some(self.second.map_or(Key::Unknown, Key::Position)),
            b'C' if self.jumps() => Some(Key::WordRight),
            b'D' if self.jumps() => Some(Key::WordLeft),
            0x40..=0x7e => Some(letter_key(byte)),
            b'0'..=b'9' => {
                let (first, second) = match self.second {
                    None => (with_digit(parameter, byte), None),
                    Some(second) => (parameter, Some(with_digit(second, byte))),
                };
                self.second = second;
                self.state = State::Csi(first);
                None
            }
            0x20..0x40 => {
                self.second = Some(0);
                self.state = State::Csi(parameter);
                None
            }
            // A byte above 0x7e is not part of any sequence.
            _ => Some(Key::Damaged),
        }
    }
}

/// Returns `number` with the decimal digit `digit` behind it; saturates.
fn with_digit(number: u16, digit: u8) -> u16 {
    let digit = u16::from(digit - b'0');
    number.saturating_mul(10).saturating_add(digit)
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Returns the key of a control sequence or an SS3 that ends in a letter.
fn letter_key(byte: u8) -> Key {
    match byte {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'F' => Key::End,
        b'H' => Key::Home,
        _ => Key::Unknown,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::new();
        bytes.iter().flat_map(|byte| keys.feed(*byte)).collect()
    }

    #[test]
    fn every_line_end_is_one_enter() {
        use Key::{Char, Enter};
        assert_eq!(keys(b"a\nb\n"), [Char('a'), Enter, Char('b'), Enter]);
        assert_eq!(keys(b"\r\r"), [Enter, Enter]);
        assert_eq!(keys(b"\n\n"), [Enter, Enter]);
        assert_eq!(keys(b"\r\n\r\n"), [Enter, Enter]);
        assert_eq!(keys(b"\n\r"), [Enter, Enter]);
    }

    #[test]
    fn terminals_differ_and_are_understood() {
        for (bytes, key) in [
            (&b"\x7f"[..], Key::Backspace),
            (b"\x08", Key::Backspace),
            (b"\x1b[A", Key::Up),
            (b"\x1bOA", Key::Up),
            (b"\x1b[1;5C", Key::WordRight),
            (b"\x1b[1;3D", Key::WordLeft),
            (b"\x1b[1;2D", Key::Left),
            (b"\x1b[1;25D", Key::Left),
            (b"\x1b[5C", Key::Right),
            (b"\x1bb", Key::WordLeft),
            (b"\x1bf", Key::WordRight),
            (b"\t", Key::Complete),
            (b"\x1b[H", Key::Home),
            (b"\x1b[1~", Key::Home),
            (b"\x1bOF", Key::End),
            (b"\x1b[4~", Key::End),
            (b"\x1b[3~", Key::Delete),
            (b"\x1b[3;2~", Key::Delete),
            (b"\x1b[99999999999~", Key::Unknown),
            (b"\x1b[15~", Key::Unknown),
            (b"\x1b[[A", Key::Unknown),
            (b"\x1b\x7f", Key::KillWord),
            (b"\x1b\x08", Key::KillWord),
            (b"\x1bx", Key::Unknown),
            (b"\0", Key::Unknown),
        ] {
            assert_eq!(keys(bytes), [key], "{bytes:?}");
        }
    }

    #[test]
    fn a_broken_sequence_swallows_no_control_key() {
        use Key::{Damaged, Enter, Interrupt, Up};
        assert_eq!(keys(b"\x1b\r"), [Enter]);
        assert_eq!(keys(b"\x1b[12\n"), [Enter]);
        assert_eq!(keys(b"\x1bO\x03"), [Interrupt]);
        assert_eq!(keys(b"\xe2\x82\r"), [Damaged, Enter]);
        assert_eq!(keys(b"\x1b[1\x1b[A"), [Up]);
        assert_eq!(keys(b"\x1b\x1b[A"), [Up]);
        assert_eq!(keys(b"\x1b[[\x03"), [Interrupt]);
    }

    #[test]
    fn text_is_utf8_or_damaged() {
        use Key::{Char, Damaged, Unknown};
        assert_eq!(keys("é€😀".as_bytes()), [Char('é'), Char('€'), Char('😀')]);
        assert_eq!(keys(b"\xc0\x80"), [Damaged, Damaged]); // Overlong.
        assert_eq!(keys(b"\xed\xa0\x80"), [Damaged]); // A surrogate.
        assert_eq!(keys(b"\xf4\x90\x80\x80"), [Damaged]); // Above U+10FFFF.
        assert_eq!(keys(b"\xc3\xc3\xa9"), [Damaged, Char('é')]);
        assert_eq!(keys(b"\xff"), [Damaged]);
        assert_eq!(keys(b"\xc2\x9b"), [Unknown]); // A C1 control character.
        assert_eq!(keys(b"\x1b[\xff"), [Damaged]);
        assert_eq!(keys(b"\x1b[[\xff"), [Damaged]);
        assert_eq!(keys(b"\x1bO\xff"), [Damaged]);
    }
}
