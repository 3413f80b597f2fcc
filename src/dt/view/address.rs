//! Physical ranges: `reg`, and its translation by the `ranges` of every bus.

use core::fmt;
use core::ops::Range;

use super::cells::{CellCounts, Cells};
use super::walk::{Node, Path};
use crate::dt::error::{DtError, NodeKind};

/// A range of physical addresses. Its end fits 64 bits, so a range never includes the last
/// byte of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhysRange {
    start: u64,
    size: u64,
}

impl PhysRange {
    /// Returns the range of `size` bytes from `start` on, or `None` if its end doesn't fit
    /// 64 bits.
    pub const fn new(start: u64, size: u64) -> Option<PhysRange> {
        match start.checked_add(size) {
            Some(_) => Some(PhysRange { start, size }),
            None => None,
        }
    }

    /// Returns the address of the first byte.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Returns the size in bytes.
    pub const fn size(self) -> u64 {
        self.size
    }

    /// Returns the address of the first byte behind the range.
    pub const fn end(self) -> u64 {
        self.start + self.size
    }
}

impl From<PhysRange> for Range<u64> {
    fn from(range: PhysRange) -> Range<u64> {
        range.start()..range.end()
    }
}

impl fmt::Display for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start(), self.end())
    }
}

/// The entries of a `reg`, as addresses of the bus that its node is on.
#[derive(Clone, Debug)]
pub(super) struct Regs<'a> {
    /// The entries that have not been returned yet.
    cells: Cells<'a>,
    counts: CellCounts,
    /// The node's purpose, for errors.
    kind: NodeKind,
}

impl<'a> Regs<'a> {
    /// Returns the `reg` of `node`, a child of `parent`.
    pub(super) fn of(
        node: Node<'_, 'a>,
        parent: Node<'_, 'a>,
        kind: NodeKind,
    ) -> Result<Regs<'a>, DtError> {
        let property = node
            .property("reg")
            .ok_or(DtError::PropertyMissing(kind, "reg"))?;
        let counts = CellCounts::of_memory(parent, kind)?;
        let cells = Cells(property.value);
        // A `reg` that isn't a whole number of entries was written for other cell counts,
        // so every entry of it might be read wrong.
        if !cells.is_multiple_of(counts.address + counts.size) {
            return Err(DtError::BadProperty(kind, "reg"));
        }
        Ok(Regs {
            cells,
            counts,
            kind,
        })
    }
}

impl<'a> Regs<'a> {
    /// Returns the complete entries of the `reg` of `node`, whose last entry may be too
    /// short.
    pub(super) fn in_front(
        node: Node<'_, 'a>,
        parent: Node<'_, 'a>,
        kind: NodeKind,
    ) -> Option<Regs<'a>> {
        Some(Regs {
            cells: Cells(node.property("reg")?.value),
            counts: CellCounts::of_memory(parent, kind).ok()?,
            kind,
        })
    }
}

impl Iterator for Regs<'_> {
    type Item = Result<PhysRange, DtError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.cells.number(self.counts.address)?;
        let size = self.cells.number(self.counts.size)?;
        Some(PhysRange::new(start, size).ok_or(DtError::AddressOverflow(self.kind)))
    }
}

/// Returns entry `index` of the `reg` of the node at `path`, as an address of the CPU.
pub(super) fn mmio(
    path: &Path<'_, '_>,
    kind: NodeKind,
    index: usize,
) -> Result<PhysRange, DtError> {
    let parent = path
        .parents()
        .next()
        .ok_or(DtError::NotTranslatable(kind))?;
    let local = Regs::of(path.node(), parent, kind)?
        .nth(index)
        .ok_or(DtError::BadProperty(kind, "reg"))??;
    if local.size() == 0 {
        return Err(DtError::BadProperty(kind, "reg"));
    }
    to_cpu(path, kind, local)
}

/// Returns `range`, which are addresses of the parent of the node at `path`, as addresses of the
/// CPU.
pub(super) fn to_cpu(
    path: &Path<'_, '_>,
    kind: NodeKind,
    mut range: PhysRange,
) -> Result<PhysRange, DtError> {
    let mut buses = path.parents();
    let mut bus = buses.next();
    for parent in buses {
        if let Some(bus) = bus {
            range = translate(range, bus, parent)?.ok_or(DtError::NotTranslatable(kind))?;
        }
        bus = Some(parent);
    }
    Ok(range)
}

/// Returns `range`, of addresses of `bus`, as addresses of `parent`, or `None` if no entry
/// of the bus's `ranges` covers it (Devicetree Specification, "ranges").
fn translate(
    range: PhysRange,
    bus: Node<'_, '_>,
    parent: Node<'_, '_>,
) -> Result<Option<PhysRange>, DtError> {
    let Some(property) = bus.property("ranges") else {
        return Ok(None);
    };
    let mut cells = Cells(property.value);
    if cells.is_empty() {
        return Ok(Some(range));
    }
    let child = CellCounts::of_memory(bus, NodeKind::Bus)?;
    let outer = CellCounts::of(parent, NodeKind::Bus)?;
    while !cells.is_empty() {
        let from = cells.number(child.address);
        let to = cells.take(outer.address);
        let size = cells.number(child.size);
        let (Some(from), Some(mut to), Some(size)) = (from, to, size) else {
            return Err(DtError::BadProperty(NodeKind::Bus, "ranges"));
        };
        let Some(offset) = range.start().checked_sub(from) else {
            continue;
        };
        if offset
            .checked_add(range.size())
            .is_none_or(|end| end > size)
        {
            continue;
        }
        if !(1..=2).contains(&outer.address) {
            let count = outer.address;
            return Err(DtError::BadCellCount(
                NodeKind::Bus,
                "#address-cells",
                count,
            ));
        }
        return to
            .number(outer.address)
            .and_then(|to| PhysRange::new(to.checked_add(offset)?, range.size()))
            .map(Some)
            .ok_or(DtError::AddressOverflow(NodeKind::Bus));
    }
    Ok(None)
}
