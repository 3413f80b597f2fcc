//! Property values that are numbers of 32-bit cells.
//!
//! No function here trusts a length: it returns a value only if all of its cells are
//! there.

use super::walk::Node;
use crate::dt::error::{DtError, NodeKind};

/// The cells of a value that have not been read yet. Each read removes cells from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells<'a>(pub(super) &'a [u8]);

impl<'a> Cells<'a> {
    /// Returns whether no cell is left.
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the length is a multiple of `count` cells.
    pub(super) fn is_multiple_of(self, count: u32) -> bool {
        usize::try_from(count).is_ok_and(|count| self.0.len().is_multiple_of(count * 4))
    }

    /// Returns the next cell.
    pub(super) fn cell(&mut self) -> Option<u32> {
        let (cell, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*cell))
    }

    /// Returns the next `count` cells as one number; 0 if `count` is 0. `None` if there are
    /// fewer cells or the number doesn't fit 64 bits.
    pub(super) fn number(&mut self, count: u32) -> Option<u64> {
        let mut number: u64 = 0;
        for _ in 0..count {
            if number > u64::from(u32::MAX) {
                return None;
            }
            number = number << 32 | u64::from(self.cell()?);
        }
        Some(number)
    }

    /// Returns the next `count` cells without decoding them.
    pub(super) fn take(&mut self, count: u32) -> Option<Cells<'a>> {
        let bytes = usize::try_from(count).ok()?.checked_mul(4)?;
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(Cells(taken))
    }
}

/// Returns the property `name` of `node`, which must be one cell, or `None` if `node` has
/// no such property.
pub(super) fn cell_property(
    node: Node<'_, '_>,
    kind: NodeKind,
    name: &'static str,
) -> Result<Option<u32>, DtError> {
    let Some(property) = node.property(name) else {
        return Ok(None);
    };
    match property.value.first_chunk() {
        Some(cell) if property.value.len() == 4 => Ok(Some(u32::from_be_bytes(*cell))),
        _ => Err(DtError::BadProperty(kind, name)),
    }
}

/// Returns the property `name` of `node`, which must be one number of one or two cells, or
/// `None` if `node` has no such property.
pub(super) fn number_property(
    node: Node<'_, '_>,
    kind: NodeKind,
    name: &'static str,
) -> Result<Option<u64>, DtError> {
    let Some(property) = node.property(name) else {
        return Ok(None);
    };
    let mut cells = Cells(property.value);
    let number = match property.value.len() {
        4 => cells.number(1),
        8 => cells.number(2),
        _ => None,
    };
    number.map(Some).ok_or(DtError::BadProperty(kind, name))
}

/// How many cells the addresses and sizes of a node's children have.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellCounts {
    pub(super) address: u32,
    pub(super) size: u32,
}

impl CellCounts {
    /// Returns the cell counts that `node` gives for its children; 2 and 1 if it gives none
    /// (Devicetree Specification, "#address-cells and #size-cells").
    pub(super) fn of(node: Node<'_, '_>, kind: NodeKind) -> Result<CellCounts, DtError> {
        Ok(CellCounts {
            address: cell_property(node, kind, "#address-cells")?.unwrap_or(2),
            size: cell_property(node, kind, "#size-cells")?.unwrap_or(1),
        })
    }

    /// Returns the cell counts as [`CellCounts::of`] does, if each is 1 or 2.
    pub(super) fn of_memory(node: Node<'_, '_>, kind: NodeKind) -> Result<CellCounts, DtError> {
        let counts = CellCounts::of(node, kind)?;
        if !(1..=2).contains(&counts.address) {
            let count = counts.address;
            return Err(DtError::BadCellCount(kind, "#address-cells", count));
        }
        if !(1..=2).contains(&counts.size) {
            let count = counts.size;
            return Err(DtError::BadCellCount(kind, "#size-cells", count));
        }
        Ok(counts)
    }
}
