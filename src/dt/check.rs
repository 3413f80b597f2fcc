//! The pass that every blob goes through before anything reads it as a tree.
//!
//! It goes over the tokens twice: once to prove all of the blob and to learn
//! how large its compact copy is, once to write the copy. The copy has the four
//! blocks in their usual order without gaps, and in the structure block only
//! what the tree means: no NOPs (which `fdt` stumbles over, and which QEMU
//! leaves when it takes devices out), padding zeroed. Nor has it the nodes that are
//! there for overlays, which may be most of a tree.
//!
//! # Invariants
//! What [`verify`] has accepted without NOPs is safe to walk with `fdt`:
//! 1. One root with an empty name; every other name is not empty, printable
//!    ASCII, and terminated.
//! 2. In each node properties come before children; beginnings and ends match,
//!    at most [`MAX_DEPTH`] deep; the block ends with its END token.
//! 3. Every property's value is inside the structure block and its name is a
//!    terminated string inside the strings block.

use super::MAX_DEPTH;
use super::error::DtError;
use super::header::{HEADER_SIZE, Header, LAST_COMPATIBLE, MAGIC, VERSION};
use super::token::{BEGIN_NODE, END, END_NODE, PROPERTY, Token, Tokens, name_in};

/// Checks `blob` whole and writes a compact copy of it to `out`; returns the
/// size of the copy in bytes.
///
/// `blob` may be longer than the tree in it. Only the copy may be given to
/// [`DeviceTree`](super::DeviceTree).
///
/// # Errors
/// The first thing that is wrong with the blob, or
/// [`DtError::OutputTooSmall`]. `out` is changed only on success, and never
/// beyond the size returned.
pub fn check(blob: &[u8], out: &mut [u8]) -> Result<usize, DtError> {
    let (verified, blob) = verify(blob)?;
    let needed = verified.copy_size();
    let limit = out.len();
    let out = out
        .get_mut(..needed)
        .ok_or(DtError::OutputTooSmall { needed, limit })?;
    copy(blob, &verified, out)?;
    Ok(needed)
}

/// What is known of a blob that is proved to be well-formed.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub(super) header: Header,
    /// Size of the structure block with only what is kept of it.
    structure_size: usize,
}

impl Verified {
    /// Returns whether `fdt` may read the blob as it is.
    pub(super) fn is_compact(&self) -> bool {
        self.header.version >= VERSION && self.structure_size == self.header.structure.len()
    }

    fn copy_size(&self) -> usize {
        HEADER_SIZE
            + self.header.reservations.len()
            + self.structure_size
            + self.header.strings.len()
    }
}

/// Proves the invariants above; returns what was learned and `blob` cut to its
/// size.
pub(super) fn verify(blob: &[u8]) -> Result<(Verified, &[u8]), DtError> {
    let (mut header, blob) = Header::parse(blob)?;
    let structure = blob.get(header.structure.clone()).unwrap_or_default();
    let strings = blob.get(header.strings.clone()).unwrap_or_default();
    let mut tokens = Tokens::new(structure, header.structure.start);
    let mut shape = Shape::default();
    let mut keep = Keep::default();
    let mut left_out = 0;
    loop {
        let offset = tokens.offset();
        let token = tokens.read()?;
        if !keep.keeps(&token) {
            left_out += tokens.offset() - offset;
        }
        match token {
            Token::BeginNode(name) => shape.begin(name, offset)?,
            Token::EndNode => shape.end_node(offset)?,
            Token::Property(name_offset, _) => {
                shape.property(offset)?;
                check_property_name(strings, name_offset)
                    .ok_or(DtError::BadPropertyName { offset })?;
            }
            Token::Nop => {}
            Token::End => {
                shape.end(offset)?;
                break;
            }
        }
    }
    let end = tokens.offset();
    if header.version < VERSION {
        header.structure.end = end;
    } else if end != header.structure.end {
        return Err(DtError::TrailingData { offset: end });
    }
    header.check_overlaps()?;
    let structure_size = header.structure.len() - left_out;
    let verified = Verified {
        header,
        structure_size,
    };
    Ok((verified, blob))
}

fn check_property_name(strings: &[u8], offset: u32) -> Option<()> {
    let offset = usize::try_from(offset).ok()?;
    let name = name_in(strings.get(offset..)?)?;
    (!name.is_empty()).then_some(())
}

/// The children of the root that only overlays need (the device tree compiler writes
/// them with `-@`).
const FOR_OVERLAYS: [&[u8]; 3] = [b"__symbols__", b"__fixups__", b"__local_fixups__"];

/// Which tokens the copy has.
#[derive(Default)]
struct Keep {
    /// Nodes that have begun and not ended.
    depth: usize,
    /// Whether this is inside a node for overlays.
    left_out: bool,
}

impl Keep {
    /// Returns whether the copy has `token`, the next one of the tree.
    fn keeps(&mut self, token: &Token<'_>) -> bool {
        match token {
            Token::BeginNode(name) => {
                if self.depth == 1 && FOR_OVERLAYS.contains(name) {
                    self.left_out = true;
                }
                self.depth += 1;
                !self.left_out
            }
            Token::EndNode => {
                let kept = !self.left_out;
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 1 {
                    self.left_out = false;
                }
                kept
            }
            Token::Property(..) => !self.left_out,
            Token::Nop => false,
            Token::End => true,
        }
    }
}

/// Which token may come next.
#[derive(Default)]
struct Shape {
    /// Nodes that have begun and not ended.
    depth: usize,
    root_seen: bool,
    /// Whether the innermost node has had a child already.
    children_seen: bool,
}

impl Shape {
    fn begin(&mut self, name: &[u8], offset: usize) -> Result<(), DtError> {
        let is_root = self.depth == 0;
        if is_root && self.root_seen {
            return Err(DtError::SecondRoot { offset });
        }
        if name.is_empty() != is_root {
            return Err(DtError::BadNodeName { offset });
        }
        if self.depth == MAX_DEPTH {
            return Err(DtError::TooDeep { offset });
        }
        self.depth += 1;
        self.root_seen = true;
        self.children_seen = false;
        Ok(())
    }

    fn end_node(&mut self, offset: usize) -> Result<(), DtError> {
        self.depth = self
            .depth
            .checked_sub(1)
            .ok_or(DtError::Unbalanced { offset })?;
        // The node that this is in has at least the child that just ended.
        self.children_seen = true;
        Ok(())
    }

    fn property(&self, offset: usize) -> Result<(), DtError> {
        if self.depth == 0 || self.children_seen {
            return Err(DtError::MisplacedProperty { offset });
        }
        Ok(())
    }

    fn end(&self, offset: usize) -> Result<(), DtError> {
        if !self.root_seen {
            return Err(DtError::NoRoot);
        }
        if self.depth != 0 {
            return Err(DtError::Unbalanced { offset });
        }
        Ok(())
    }
}

/// Writes the compact copy of `blob` to `out`, which has the right size.
fn copy(blob: &[u8], verified: &Verified, out: &mut [u8]) -> Result<(), DtError> {
    let header = &verified.header;
    let needed = out.len();
    let mut writer = Writer { out, at: 0 };
    let reservations_at = HEADER_SIZE;
    let structure_at = reservations_at + header.reservations.len();
    let strings_at = structure_at + verified.structure_size;
    for field in [
        Some(MAGIC),
        u32::try_from(needed).ok(),
        u32::try_from(structure_at).ok(),
        u32::try_from(strings_at).ok(),
        u32::try_from(reservations_at).ok(),
        Some(VERSION),
        Some(LAST_COMPATIBLE),
        Some(header.boot_cpu),
        u32::try_from(header.strings.len()).ok(),
        u32::try_from(verified.structure_size).ok(),
    ] {
        writer.word(field)?;
    }
    writer.bytes(blob.get(header.reservations.clone()).unwrap_or_default())?;
    let structure = blob.get(header.structure.clone()).unwrap_or_default();
    let mut tokens = Tokens::new(structure, header.structure.start);
    let mut keep = Keep::default();
    loop {
        let token = tokens.read()?;
        if !keep.keeps(&token) {
            continue;
        }
        match token {
            Token::BeginNode(name) => {
                writer.word(Some(BEGIN_NODE))?;
                writer.bytes(name)?;
                writer.bytes(&[0])?;
                writer.pad()?;
            }
            Token::EndNode => writer.word(Some(END_NODE))?,
            Token::Property(name_offset, value) => {
                writer.word(Some(PROPERTY))?;
                writer.word(u32::try_from(value.len()).ok())?;
                writer.word(Some(name_offset))?;
                writer.bytes(value)?;
                writer.pad()?;
            }
            Token::Nop => {}
            Token::End => {
                writer.word(Some(END))?;
                break;
            }
        }
    }
    writer.bytes(blob.get(header.strings.clone()).unwrap_or_default())
}

/// Writes one thing after the other, and never past the end.
struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), DtError> {
        let to = self.at.saturating_add(bytes.len());
        let limit = self.out.len();
        self.out
            .get_mut(self.at..to)
            .ok_or(DtError::OutputTooSmall { needed: to, limit })?
            .copy_from_slice(bytes);
        self.at = to;
        Ok(())
    }

    /// Writes a word. All sizes are below [`MAX_SIZE`](super::MAX_SIZE), so
    /// there is always one; `None` is a size that would not fit.
    fn word(&mut self, word: Option<u32>) -> Result<(), DtError> {
        let word = word.ok_or(DtError::BadTotalSize(u32::MAX))?;
        self.bytes(&word.to_be_bytes())
    }

    /// Fills up to the next word with zeros.
    fn pad(&mut self) -> Result<(), DtError> {
        let padding = self.at.next_multiple_of(4) - self.at;
        self.bytes([0; 4].get(..padding).unwrap_or_default())
    }
}
