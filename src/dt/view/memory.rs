//! RAM, and which parts of it are reserved.

use super::DeviceTree;
use super::address::{PhysRange, Regs};
use super::walk::{Node, is_enabled, is_of_type};
use crate::dt::error::{DtError, NodeKind};

/// A node with its parent and what it is.
type Found<'b, 'a> = (Node<'b, 'a>, Node<'b, 'a>, NodeKind);

impl<'a> DeviceTree<'a> {
    /// RAM, one item for each entry of each memory node; in any order, perhaps
    /// overlapping. Empty entries are left out: the tree of a Pi has one, which
    /// its firmware fills in.
    ///
    /// An item is an error if its node can't be decoded or its range leaves the
    /// address space; the others are still good. So are the entries in front of a rest
    /// that is too short to be one, which Linux takes too: where one of them
    /// is more than an Arm CPU can address, the `reg` was written for other cell
    /// counts, and all of it is left out.
    pub fn memory(&self) -> impl Iterator<Item = Result<PhysRange, DtError>> + '_ {
        let mut root = None;
        let nodes = self.nodes().filter_map(move |(depth, node)| {
            if depth == 0 {
                root = Some(node);
            }
            let is_memory = depth == 1 && is_of_type(node, "memory") && is_enabled(node);
            Some((node, root.filter(|_| is_memory)?, NodeKind::Memory))
        });
        nodes.flat_map(banks)
    }

    /// Memory that isn't ours to use: the memory reservation block and the
    /// children of `/reserved-memory` that have a place. In any order, perhaps
    /// overlapping, not all of it RAM.
    ///
    /// Addresses are the CPU's: the specification demands that
    /// `/reserved-memory` has an empty `ranges` (3.5.1).
    ///
    /// An item is an error if its node can't be decoded. What is reserved there is known
    /// to nothing: memory that some of it may be in must not be used.
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

/// Behind the last address that any Arm CPU has (Arm ARM, FEAT_LPA: 52 bits).
const END_OF_ADDRESSES: u64 = 1 << 52;

/// Returns the entries of a memory node's `reg` that are not empty, and what is wrong with
/// it.
fn banks<'a>(
    (node, parent, kind): Found<'_, 'a>,
) -> impl Iterator<Item = Result<PhysRange, DtError>> + use<'a> {
    let (front, error) = match Regs::of(node, parent, kind) {
        Err(error @ DtError::BadProperty(..)) => {
            let front = Regs::in_front(node, parent, kind).filter(|front| {
                front
                    .clone()
                    .all(|bank| bank.is_ok_and(|bank| bank.end() <= END_OF_ADDRESSES))
            });
            (front, Some(Err(error)))
        }
        Err(error) => (None, Some(Err(error))),
        Ok(regs) => (Some(regs), None),
    };
    not_empty(front.into_iter().flatten().chain(error))
}

/// Returns the `reg` entries of a node that are not empty, or why there are none.
fn regs<'a>(
    (node, parent, kind): Found<'_, 'a>,
) -> impl Iterator<Item = Result<PhysRange, DtError>> + use<'a> {
    let (regs, error) = match Regs::of(node, parent, kind) {
        Ok(regs) => (Some(regs), None),
        Err(error) => (None, Some(Err(error))),
    };
    not_empty(regs.into_iter().flatten().chain(error))
}

fn not_empty(
    ranges: impl Iterator<Item = Result<PhysRange, DtError>>,
) -> impl Iterator<Item = Result<PhysRange, DtError>> {
    ranges.filter(|range| range.is_err() || range.is_ok_and(|range| range.size() != 0))
}
