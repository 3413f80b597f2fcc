//! The check that every blob passes before it is read as a tree.
//!
//! [`check`] reads the tokens twice: first to check the whole blob and to compute the size
//! of its compact copy, then to write the copy. The copy has the header and the three
//! blocks in their usual order without gaps, with padding zeroed. It leaves out NOP tokens,
//! which `fdt` can't read and which QEMU leaves where it removes devices. It also leaves
//! out the nodes that only overlays need, which may be most of a tree.
//!
//! # Invariants
//! A blob without NOPs that [`verify`] has accepted is safe to walk with `fdt`:
//! - **names-are-printable**: there is one root, with an empty name; every other name is
//!   not empty, printable ASCII, and terminated.
//! - **nesting-is-bounded**: in each node properties come before children. Each BEGIN token
//!   has its END, nodes nest at most [`MAX_DEPTH`] deep, and the block ends with its END
//!   token.
//! - **values-in-bounds**: every property's value is inside the structure block and its name
//!   is a terminated string inside the strings block.

use super::MAX_DEPTH;
use super::error::DtError;
use super::header::{HEADER_SIZE, Header, LAST_COMPATIBLE, MAGIC, VERSION};
use super::token::{BEGIN_NODE, END, END_NODE, PROPERTY, Token, Tokens, name_in};

/// Checks all of `blob` and writes a compact copy of it to `out`; returns the
/// size of the copy in bytes.
///
/// `blob` may be longer than the tree in it. [`DeviceTree`](super::DeviceTree) accepts
/// only such a copy.
///
/// # Errors
/// The first error that was found in the blob, or [`DtError::OutputTooSmall`]. `out` is
/// changed only on success, and never beyond the size that is returned.
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

/// The facts about a blob that has been found well-formed.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub(super) header: Header,
    /// Size of the copy's structure block, in bytes.
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

/// Checks the invariants of this module (names-are-printable, nesting-is-bounded,
/// values-in-bounds); returns the facts about the blob, and `blob` cut to the tree's size.
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

/// The names of the root's children that only overlays need (the device tree compiler
/// writes them with `-@`).
const FOR_OVERLAYS: [&[u8]; 3] = [b"__symbols__", b"__fixups__", b"__local_fixups__"];

/// Decides which tokens are copied.
#[derive(Default)]
struct Keep {
    /// How many nodes have begun and not ended.
    depth: usize,
    /// Whether the next token is inside a node for overlays.
    left_out: bool,
}

impl Keep {
    /// Returns whether `token`, the next one of the tree, is copied.
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

/// Decides which token may come next.
#[derive(Default)]
struct Shape {
    /// How many nodes have begun and not ended.
    depth: usize,
    /// Whether a root has begun.
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
        // The enclosing node has had a child: the one that has just ended.
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

/// Appends bytes to a buffer, and never writes past its end.
struct Writer<'o> {
    out: &'o mut [u8],
    /// Offset of the next byte.
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

    /// Writes a word. `None` stands for a size that doesn't fit 32 bits, which is an error;
    /// it doesn't occur, as all sizes are at most [`MAX_SIZE`](super::MAX_SIZE).
    fn word(&mut self, word: Option<u32>) -> Result<(), DtError> {
        let word = word.ok_or(DtError::BadTotalSize(u32::MAX))?;
        self.bytes(&word.to_be_bytes())
    }

    /// Writes zeros up to the next word boundary.
    fn pad(&mut self) -> Result<(), DtError> {
        let padding = self.at.next_multiple_of(4) - self.at;
        self.bytes([0; 4].get(..padding).unwrap_or_default())
    }
}
