//! Properties that are texts.
//!
//! The specification demands a NUL behind each text and none in it (Devicetree
//! Specification, "Property Values"). A text that breaks this rule is read all the same: up
//! to the first NUL, or to the end of the property. Its bytes need not be UTF-8.

use core::fmt;

use crate::escape::Escaped;

/// A property that is one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    /// The text without its NUL.
    bytes: &'a [u8],
    flaw: Option<TextFlaw>,
}

/// An error in the form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFlaw {
    /// No NUL ends the text. The whole property was read.
    Unterminated,
    /// There are this many bytes behind the first NUL, which were not read.
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
            // A property without a value, as in `bootargs;`, is an empty text.
            None if value.is_empty() => None,
            None => Some(TextFlaw::Unterminated),
            // Zeros behind the NUL are padding.
            Some(_) if behind.iter().all(|byte| *byte == 0) => None,
            Some(_) => Some(TextFlaw::MoreBehind(behind.len().saturating_sub(1))),
        };
        Text { bytes, flaw }
    }

    /// Returns the bytes of the text, without its NUL.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the error in the text's form, if there is one.
    pub fn flaw(self) -> Option<TextFlaw> {
        self.flaw
    }
}

/// Prints U+FFFD for bytes that are not UTF-8, and control characters as escapes.
impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.bytes).fmt(f)
    }
}

/// Returns the texts in `value`, each without its NUL; the last one need not have a NUL.
pub(super) fn texts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split_inclusive(|byte| *byte == 0)
        .map(|text| text.strip_suffix(&[0]).unwrap_or(text))
}
