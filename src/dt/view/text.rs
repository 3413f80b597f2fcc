//! Texts, as people and firmware write them.
//!
//! The specification wants a NUL behind each text and none in it (2.2.4). A text that
//! breaks a rule is still there, and is read as far as it is one: up to the first NUL,
//! or to its end. What it says is bytes; which of them are UTF-8 is for the reader
//! to see.

use core::fmt;

use crate::escape::Escaped;

/// A property that is one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    bytes: &'a [u8],
    flaw: Option<TextFlaw>,
}

/// What is wrong with how a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFlaw {
    /// No NUL ends it. All of it was read.
    Unterminated,
    /// More stands behind the first NUL: this many bytes, which were not read.
    MoreBehind(usize),
}

impl fmt::Display for TextFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unterminated => f.write_str("the text has no end"),
            Self::MoreBehind(count) => {
                write!(f, "{count} bytes behind the end of the text are left out")
            }
        }
    }
}

impl<'a> Text<'a> {
    /// Returns the text in `value`.
    pub(super) fn new(value: &'a [u8]) -> Text<'a> {
        let end = value.iter().position(|byte| *byte == 0);
        let (bytes, behind) = value
            .split_at_checked(end.unwrap_or(value.len()))
            .unwrap_or_default();
        let flaw = match end {
            // Nothing at all, as in `bootargs;`, breaks off nowhere.
            None if value.is_empty() => None,
            None => Some(TextFlaw::Unterminated),
            // Zeros are padding.
            Some(_) if behind.iter().all(|byte| *byte == 0) => None,
            Some(_) => Some(TextFlaw::MoreBehind(behind.len().saturating_sub(1))),
        };
        Text { bytes, flaw }
    }

    /// Returns what it says.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Returns what is wrong with how it is written.
    pub fn flaw(self) -> Option<TextFlaw> {
        self.flaw
    }
}

/// As much of it as is UTF-8, and U+FFFD for the rest; control characters written out.
impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.bytes).fmt(f)
    }
}

/// Returns the texts in `value`, each up to its NUL or to the end.
pub(super) fn texts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split_inclusive(|byte| *byte == 0)
        .map(|text| text.strip_suffix(&[0]).unwrap_or(text))
}
