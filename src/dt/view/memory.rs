//! RAM, and what of it belongs to somebody else.

use super::DeviceTree;
use super::address::{PhysRange, Regs};
use super::cells;
use super::walk::{Node, is_enabled};
use crate::dt::error::{DtError, NodeKind};

/// A node with its parent and what it is.
type Found<'b, 'a> = (Node<'b, 'a>, Node<'b, 'a>, NodeKind);

impl<'a> DeviceTree<'a> {
    /// RAM, one item for each entry of each memory node; in any order, perhaps
    /// overlapping. Empty entries are left out: the tree of a Pi has one, which
    /// its firmware fills in.
    ///
    /// An item is an error if its node can't be decoded or its range leaves the
    /// address space; the others are still good.
    pub fn memory(&self) -> impl Iterator<Item = Result<PhysRange, DtError>> + '_ {
        let mut root = None;
        let nodes = self.nodes().filter_map(move |(depth, node)| {
            if depth == 0 {
                root = Some(node);
            }
            let is_memory = depth == 1
                && node
                    .property("device_type")
                    .is_some_and(|class| cells::text(class.value) == Some("memory"))
                && is_enabled(node);
            Some((node, root.filter(|_| is_memory)?, NodeKind::Memory))
        });
        nodes.flat_map(regs)
    }

    /// Memory that isn't ours to use: the memory reservation block and the
    /// children of `/reserved-memory` that have a place. In any order, perhaps
    /// overlapping, not all of it RAM.
    ///
    /// Addresses are the CPU's: the specification demands that
    /// `/reserved-memory` has an empty `ranges` (3.5.1).
    pub fn reserved(&self) -> impl Iterator<Item = Result<PhysRange, DtError>> + '_ {
        let kind = NodeKind::ReservedMemory;
        let block = self.fdt.memory_reservations().map(move |entry| {
            let start = entry.address().addr() as u64;
            PhysRange::new(start, entry.size() as u64).ok_or(DtError::AddressOverflow(kind))
        });
        let nodes = self
            .children_of("reserved-memory")
            .filter(|(_, node)| is_enabled(*node) && node.property("reg").is_some())
            .map(move |(parent, node)| (node, parent, kind));
        let is_empty =
            |range: &Result<PhysRange, DtError>| range.is_ok_and(|range| range.size() == 0);
        block
            .filter(move |range| !is_empty(range))
            .chain(nodes.flat_map(regs))
    }
}

/// The `reg` entries of a node that are not empty, or why there are none.
fn regs<'a>(
    (node, parent, kind): Found<'_, 'a>,
) -> impl Iterator<Item = Result<PhysRange, DtError>> + use<'a> {
    let (regs, error) = match Regs::of(node, parent, kind) {
        Ok(regs) => (Some(regs), None),
        Err(error) => (None, Some(Err(error))),
    };
    regs.into_iter()
        .flatten()
        .chain(error)
        .filter(|range| range.is_err() || range.is_ok_and(|range| range.size() != 0))
}
