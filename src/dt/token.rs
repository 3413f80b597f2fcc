//! The tokens of a structure block.

use super::error::DtError;
use super::header::word;

pub(super) const BEGIN_NODE: u32 = 1;
pub(super) const END_NODE: u32 = 2;
pub(super) const PROPERTY: u32 = 3;
const NOP: u32 = 4;
pub(super) const END: u32 = 9;

/// The longest name of a node or property, in bytes. The specification's limit is 31, but
/// real trees have longer names. A limit keeps the time to read all names linear in the
/// size of the blob.
const MAX_NAME: usize = 255;

/// One token with its name or value, all in bounds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'a> {
    /// A node begins; its name, without the NUL.
    BeginNode(&'a [u8]),
    /// A node ends.
    EndNode,
    /// A property: the offset of its name in the strings block, and its value.
    Property(u32, &'a [u8]),
    /// Nothing: a program has overwritten another token.
    Nop,
    /// The tree ends.
    End,
}

/// Reads the tokens of a structure block in their order.
#[derive(Clone, Debug)]
pub(super) struct Tokens<'a> {
    block: &'a [u8],
    /// Offset of the block in the blob, in bytes.
    base: usize,
    /// Offset of the next token in the block, in bytes.
    at: usize,
}

impl<'a> Tokens<'a> {
    /// Returns the tokens of `block`, which begins at offset `base` of the blob.
    pub(super) fn new(block: &'a [u8], base: usize) -> Self {
        Tokens { block, base, at: 0 }
    }

    /// Returns the offset of the next token in the blob.
    pub(super) fn offset(&self) -> usize {
        self.base + self.at
    }

    /// Reads the next token.
    pub(super) fn read(&mut self) -> Result<Token<'a>, DtError> {
        let offset = self.offset();
        let truncated = DtError::StructureTruncated { offset };
        let token = self.word().ok_or(truncated)?;
        match token {
            BEGIN_NODE => {
                let rest = self.block.get(self.at..).unwrap_or_default();
                let name = name_in(rest).ok_or(DtError::BadNodeName { offset })?;
                self.skip(name.len() + 1).ok_or(truncated)?;
                Ok(Token::BeginNode(name))
            }
            END_NODE => Ok(Token::EndNode),
            PROPERTY => {
                let length = self.word().ok_or(truncated)?;
                let name = self.word().ok_or(truncated)?;
                let too_long = DtError::PropertyTooLong { offset };
                let length = usize::try_from(length).map_err(|_| too_long)?;
                let rest = self.block.get(self.at..).unwrap_or_default();
                let value = rest.get(..length).ok_or(too_long)?;
                self.skip(length).ok_or(too_long)?;
                Ok(Token::Property(name, value))
            }
            NOP => Ok(Token::Nop),
            END => Ok(Token::End),
            token => Err(DtError::UnknownToken { offset, token }),
        }
    }

    fn word(&mut self) -> Option<u32> {
        let word = word(self.block, self.at)?;
        self.at += 4;
        Some(word)
    }

    /// Skips `length` bytes and the padding up to the next word; returns `None` if the
    /// block ends before.
    fn skip(&mut self, length: usize) -> Option<()> {
        let to = self.at.checked_add(length)?.checked_next_multiple_of(4)?;
        if to > self.block.len() {
            return None;
        }
        self.at = to;
        Some(())
    }
}

/// Returns the name at the start of `bytes`, which may be empty; `None` if it isn't
/// terminated, is longer than [`MAX_NAME`], or has characters that are not printable.
pub(super) fn name_in(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().take(MAX_NAME + 1).position(|b| *b == 0)?;
    let name = bytes.get(..end)?;
    name.iter()
        .all(|b| b.is_ascii_graphic() && *b != b'/')
        .then_some(name)
}
