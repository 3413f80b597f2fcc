//! Requests, from which the one address map is built.
//!
//! The kernel runs on one identity map (VA = PA), which is built once, before the MMU goes
//! on, from a list of requests. Requests are applied in order, and where two overlap the
//! later one applies. So a caller first requests that all RAM be data, and then that parts
//! of it be text, read-only data and guard pages.

use core::fmt;
use core::ops::Range;

use crate::config::PAGE_SIZE;

/// Address space that one entry of a level 0 table covers, in bytes.
const LEVEL_0_ENTRY: usize = 512 * LEVEL_1_ENTRY;
/// Address space that one entry of a level 1 table covers, in bytes.
const LEVEL_1_ENTRY: usize = 512 * LEVEL_2_ENTRY;
/// Address space that one entry of a level 2 table covers, in bytes.
const LEVEL_2_ENTRY: usize = 512 * PAGE_SIZE;

/// The use of a range of addresses. No kind is both writable and executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Code: read and execute.
    Text,
    /// Constants, and variables that are written only before the MMU goes on: read.
    Rodata,
    /// RAM: read and write.
    Data,
    /// Device registers: read and write, never cached, never gathered, never
    /// reordered (Device-nGnRE).
    Device,
    /// A guard page, which isn't mapped: every access faults.
    Guard,
}

/// A range of addresses and its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRequest {
    /// The addresses, virtual and physical, both ends on a page boundary.
    pub range: Range<usize>,
    /// The use of the addresses.
    pub kind: MapKind,
}

impl MapRequest {
    /// Returns the request that all pages with a byte of `start..end` be of `kind`.
    ///
    /// It rounds outwards because the registers of a device need not fill a page. If `end`
    /// is too large to be rounded up, [`MapRequest::check`] refuses the request.
    pub const fn around(start: usize, end: usize, kind: MapKind) -> MapRequest {
        let end = match end.checked_next_multiple_of(PAGE_SIZE) {
            Some(end) => end,
            None => usize::MAX & !(PAGE_SIZE - 1),
        };
        MapRequest {
            range: start & !(PAGE_SIZE - 1)..end,
            kind,
        }
    }

    /// Checks that the request can be mapped on a machine whose physical addresses have
    /// `address_bits` bits.
    ///
    /// # Errors
    /// [`MapError::Malformed`] if the range is empty, backwards or not made of whole pages;
    /// [`MapError::OutOfRange`] if it ends beyond the physical addresses.
    pub fn check(&self, address_bits: u32) -> Result<(), MapError> {
        let Range { start, end } = self.range;
        if start >= end || !start.is_multiple_of(PAGE_SIZE) || !end.is_multiple_of(PAGE_SIZE) {
            return Err(MapError::Malformed { start, end });
        }
        if end > 1 << address_bits {
            return Err(MapError::OutOfRange { start, end });
        }
        Ok(())
    }
}

/// Returns `requests`, where one that touches or overlaps the one before it and has the same kind
/// is joined with it. So many small devices side by side take the tables of one.
pub fn joined(requests: impl IntoIterator<Item = MapRequest>) -> impl Iterator<Item = MapRequest> {
    let mut requests = requests.into_iter().fuse();
    let mut last: Option<MapRequest> = None;
    core::iter::from_fn(move || {
        loop {
            let Some(next) = requests.next() else {
                return last.take();
            };
            match &mut last {
                Some(MapRequest { range, kind })
                    if *kind == next.kind
                        && next.range.start <= range.end
                        && range.start <= next.range.end =>
                {
                    range.start = range.start.min(next.range.start);
                    range.end = range.end.max(next.range.end);
                }
                _ => {
                    if let Some(whole) = last.replace(next) {
                        return Some(whole);
                    }
                }
            }
        }
    })
}

/// Why the map can't be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// A range is empty, backwards, or not made of whole pages.
    Malformed {
        /// Where the range starts.
        start: usize,
        /// Where the range ends.
        end: usize,
    },
    /// A range reaches beyond the physical addresses of this machine.
    OutOfRange {
        /// Where the range starts.
        start: usize,
        /// Where the range ends.
        end: usize,
    },
    /// There is not enough memory for the tables.
    OutOfTables {
        /// How many pages the current request needs at most.
        needed: usize,
        /// How many pages are left.
        left: usize,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { start, end } => {
                write!(f, "{start:#x}-{end:#x} is not a range of whole pages")
            }
            Self::OutOfRange { start, end } => write!(
                f,
                "{start:#x}-{end:#x} is beyond this machine's physical addresses"
            ),
            Self::OutOfTables { needed, left } => write!(
                f,
                "mapping needs up to {needed} more page tables and has memory for {left}"
            ),
        }
    }
}

impl core::error::Error for MapError {}

/// Returns how many new tables are needed at most to map `range`: 4 KiB pages, root at
/// level 0, VA = PA.
///
/// Blocks are used wherever a whole block fits. So below level 1 only the two ends of a
/// range can need a table: one at each level for each end, or one for both if they are in
/// the same block. An entry that already leads to a table needs no new one, and the split
/// of a block makes only the table that is counted here.
pub const fn tables_needed(range: &Range<usize>) -> usize {
    let level_1_tables = range.end.div_ceil(LEVEL_0_ENTRY) - range.start / LEVEL_0_ENTRY;
    level_1_tables + partial_blocks(range, LEVEL_1_ENTRY) + partial_blocks(range, LEVEL_2_ENTRY)
}

/// Returns how many blocks of `size` bytes `range` covers in part.
const fn partial_blocks(range: &Range<usize>, size: usize) -> usize {
    let start_cut = !range.start.is_multiple_of(size);
    let end_cut = !range.end.is_multiple_of(size);
    if start_cut && end_cut && range.start / size == range.end / size {
        1
    } else {
        start_cut as usize + end_cut as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: usize = 1 << 30;
    const MIB: usize = 1 << 20;

    #[test]
    fn whole_blocks_need_only_the_level_1_table() {
        assert_eq!(tables_needed(&(GIB..4 * GIB)), 1);
        assert_eq!(tables_needed(&(511 * GIB..513 * GIB)), 2);
    }

    #[test]
    fn each_end_inside_a_block_needs_a_table_a_level() {
        assert_eq!(tables_needed(&(GIB + 2 * MIB..2 * GIB)), 2);
        assert_eq!(tables_needed(&(GIB + MIB..3 * GIB + MIB)), 5);
        assert_eq!(tables_needed(&(GIB + PAGE_SIZE..GIB + 2 * PAGE_SIZE)), 3);
    }

    #[test]
    fn a_device_is_rounded_to_pages() {
        let uart = MapRequest::around(0x900_0010, 0x900_0014, MapKind::Device);
        assert_eq!(uart.range, 0x900_0000..0x900_1000);
        assert_eq!(uart.check(40), Ok(()));
        let wild = MapRequest::around(0x900_0000, usize::MAX, MapKind::Device);
        assert!(matches!(wild.check(48), Err(MapError::OutOfRange { .. })));
    }

    #[test]
    fn neighbours_are_joined() {
        let device = |start: usize, end| MapRequest::around(start, end, MapKind::Device);
        let of = |requests: &[MapRequest]| joined(requests.iter().cloned()).collect::<Vec<_>>();
        // Places in one page, the next page, and in falling order; then a gap.
        let places = [
            device(0x1000, 0x1200),
            device(0x1e00, 0x2000),
            device(0x2000, 0x2200),
            device(0x800, 0xa00),
            device(0x4000, 0x4200),
        ];
        assert_eq!(of(&places), [device(0, 0x3000), device(0x4000, 0x5000)]);
        let other = MapRequest {
            range: 0x1000..0x2000,
            kind: MapKind::Data,
        };
        let two = [device(0, 0x1000), other];
        assert_eq!(of(&two), two);
        assert_eq!(of(&[]), []);
    }

    #[test]
    fn requests_that_cannot_be_are_refused() {
        let check = |range: Range<usize>| {
            MapRequest {
                range,
                kind: MapKind::Data,
            }
            .check(40)
        };
        assert!(matches!(
            check(0x1000..0x1000),
            Err(MapError::Malformed { .. })
        ));
        assert!(matches!(
            check(0x1000..0x1800),
            Err(MapError::Malformed { .. })
        ));
        assert_eq!(check((1 << 40) - PAGE_SIZE..1 << 40), Ok(()));
        assert!(matches!(
            check(0..(1 << 40) + PAGE_SIZE),
            Err(MapError::OutOfRange { .. })
        ));
    }
}
