//! The tokens of a structure block.

use super::error::DtError;
use super::header::word;

pub(super) const BEGIN_NODE: u32 = 1;
pub(super) const END_NODE: u32 = 2;
pub(super) const PROPERTY: u32 = 3;
const NOP: u32 = 4;
pub(super) const END: u32 = 9;

/// The longest name of a node or property, in bytes. The specification's limit
/// is 31, which real trees pass; this one keeps a scan of all names linear.
const MAX_NAME: usize = 255;

/// One token with what belongs to it, all in bounds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'a> {
    /// A node begins; its name, not terminated.
    BeginNode(&'a [u8]),
    /// A node ends.
    EndNode,
    /// A property: where in the strings block its name is, and its value.
    Property(u32, &'a [u8]),
    /// Something that was overwritten.
    Nop,
    /// The tree ends.
    End,
}

/// Reads tokens one after the other.
#[derive(Clone, Debug)]
pub(super) struct Tokens<'a> {
    block: &'a [u8],
    base: usize,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// Returns the tokens of `block`, which begins at offset `base` of the blob.
    pub(super) fn new(block: &'a [u8], base: usize) -> Self {
        Tokens { block, base, at: 0 }
    }

    /// Returns where in the blob the next token is.
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

    /// Goes on `length` bytes and to the next word, if the block has them.
    fn skip(&mut self, length: usize) -> Option<()> {
        let to = self.at.checked_add(length)?.checked_next_multiple_of(4)?;
        if to > self.block.len() {
            return None;
        }
        self.at = to;
        Some(())
    }
}

/// Returns the name that `bytes` begin with: terminated, not too long, and of printable
/// characters. May be empty.
pub(super) fn name_in(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().take(MAX_NAME + 1).position(|b| *b == 0)?;
    let name = bytes.get(..end)?;
    name.iter()
        .all(|b| b.is_ascii_graphic() && *b != b'/')
        .then_some(name)
}
