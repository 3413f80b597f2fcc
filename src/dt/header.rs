//! The header of a blob, and the places of the blocks that it gives.

use core::ops::Range;

use super::error::{Block, DtError};

/// The size of the largest blob that is accepted, in bytes: the limit of the arm64 boot
/// protocol (Linux, `Documentation/arch/arm64/booting.rst`).
pub const MAX_SIZE: usize = 2 * 1024 * 1024;

/// The first word of every blob.
pub(super) const MAGIC: u32 = 0xd00d_feed;

/// The version of the copies' format.
pub(super) const VERSION: u32 = 17;

/// The oldest version that [`VERSION`] is compatible with: version 17 only added a field.
pub(super) const LAST_COMPATIBLE: u32 = 16;

/// Size of a header of version 17, in bytes.
pub(super) const HEADER_SIZE: usize = 40;

/// Size of a header of version 16, in bytes. It lacks the structure block's size.
const HEADER_SIZE_16: usize = 36;

/// Size of one memory reservation, in bytes: an address and a size of 64 bits each.
const RESERVATION_SIZE: usize = 16;

/// Returns the big-endian word at `at`, if the bytes go that far.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

/// Returns the size in bytes of the blob that begins with `header`.
///
/// A caller that has only a pointer reads the first 8 bytes, asks this for the size, and
/// makes a slice of that size.
///
/// # Errors
/// [`DtError::BadMagic`] if `header` doesn't begin a blob; [`DtError::BadTotalSize`] if no
/// blob can have that size.
pub fn total_size(header: &[u8; 8]) -> Result<usize, DtError> {
    let [m0, m1, m2, m3, s0, s1, s2, s3] = *header;
    let magic = u32::from_be_bytes([m0, m1, m2, m3]);
    if magic != MAGIC {
        return Err(DtError::BadMagic(magic));
    }
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    match usize::try_from(size) {
        Ok(bytes) if (HEADER_SIZE_16..=MAX_SIZE).contains(&bytes) => Ok(bytes),
        _ => Err(DtError::BadTotalSize(size)),
    }
}

/// A header whose blocks are in bounds, aligned and terminated. All ranges are offsets into
/// the blob.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Version of the format.
    pub(super) version: u32,
    /// Physical ID of the CPU on which the machine was started, as the blob has it.
    pub(super) boot_cpu: u32,
    /// The memory reservation block with its terminator.
    pub(super) reservations: Range<usize>,
    /// The structure block. A header of version 16 doesn't give its size, so there the
    /// range reaches to the blob's end until the tokens have been read.
    pub(super) structure: Range<usize>,
    /// The strings block.
    pub(super) strings: Range<usize>,
}

impl Header {
    /// Reads the header of `blob`; returns it with `blob` cut to the size that it gives.
    pub(super) fn parse(blob: &[u8]) -> Result<(Header, &[u8]), DtError> {
        let short = |needed| DtError::Truncated {
            needed,
            got: blob.len(),
        };
        let start = blob.first_chunk().ok_or(short(HEADER_SIZE_16))?;
        let size = total_size(start)?;
        let blob = blob.get(..size).ok_or(short(size))?;
        let field = |index: usize| word(blob, index * 4).ok_or(short(HEADER_SIZE));
        let version = field(5)?;
        let last_compatible = field(6)?;
        if version < LAST_COMPATIBLE || last_compatible > VERSION {
            return Err(DtError::UnsupportedVersion {
                version,
                last_compatible,
            });
        }
        let structure = if version >= VERSION {
            let structure = block(blob, Block::Structure, field(2)?, field(9)?, 4)?;
            if !structure.len().is_multiple_of(4) {
                return Err(DtError::BlockMisaligned(Block::Structure));
            }
            structure
        } else {
            place(blob, Block::Structure, field(2)?, 4)?..blob.len()
        };
        let header = Header {
            version,
            boot_cpu: field(7)?,
            reservations: reservations(blob, field(4)?)?,
            structure,
            strings: block(blob, Block::Strings, field(3)?, field(8)?, 1)?,
        };
        Ok((header, blob))
    }

    /// Checks that no two blocks share a byte, now that the end of the
    /// structure block is known for every version.
    pub(super) fn check_overlaps(&self) -> Result<(), DtError> {
        let header = if self.version >= VERSION {
            HEADER_SIZE
        } else {
            HEADER_SIZE_16
        };
        let blocks = [
            (Block::Header, 0..header),
            (Block::Reservations, self.reservations.clone()),
            (Block::Structure, self.structure.clone()),
            (Block::Strings, self.strings.clone()),
        ];
        for (index, (block, range)) in blocks.iter().enumerate() {
            for (other_block, other) in blocks.iter().take(index) {
                let shared = range.start.max(other.start)..range.end.min(other.end);
                if !shared.is_empty() {
                    return Err(DtError::BlocksOverlap(*other_block, *block));
                }
            }
        }
        Ok(())
    }
}

/// Returns where a block of `blob` begins.
fn place(blob: &[u8], block: Block, offset: u32, align: usize) -> Result<usize, DtError> {
    let offset = usize::try_from(offset).map_err(|_| DtError::BlockOutOfBounds(block))?;
    if offset > blob.len() {
        return Err(DtError::BlockOutOfBounds(block));
    }
    if !offset.is_multiple_of(align) {
        return Err(DtError::BlockMisaligned(block));
    }
    Ok(offset)
}

/// Returns a block whose size the header gives.
fn block(
    blob: &[u8],
    block: Block,
    offset: u32,
    size: u32,
    align: usize,
) -> Result<Range<usize>, DtError> {
    let from = place(blob, block, offset, align)?;
    let size = usize::try_from(size).map_err(|_| DtError::BlockOutOfBounds(block))?;
    match from.checked_add(size) {
        Some(to) if to <= blob.len() => Ok(from..to),
        _ => Err(DtError::BlockOutOfBounds(block)),
    }
}

/// Returns the memory reservations with their terminator, which is all zeros.
fn reservations(blob: &[u8], offset: u32) -> Result<Range<usize>, DtError> {
    let from = place(blob, Block::Reservations, offset, 8)?;
    let entries = blob.get(from..).unwrap_or_default();
    let (entries, _) = entries.as_chunks::<RESERVATION_SIZE>();
    match entries.iter().position(|entry| *entry == [0; _]) {
        Some(last) => Ok(from..from + (last + 1) * RESERVATION_SIZE),
        None => Err(DtError::ReservationsUnterminated),
    }
}
