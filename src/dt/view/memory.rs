//! RAM and reserved memory.

use super::DeviceTree;
use super::address::{PhysRange, Regs};
use super::walk::{Node, is_enabled, is_of_type};
use crate::dt::error::{DtError, NodeKind};

/// A node, its parent and its purpose.
type Found<'b, 'a> = (Node<'b, 'a>, Node<'b, 'a>, NodeKind);

impl<'a> DeviceTree<'a> {
    /// Returns the ranges of RAM, one item for each entry of each memory node. They come in
    /// any order and may overlap. Empty entries are left out: the tree of a Raspberry Pi has
    /// one, which its firmware fills in.
    ///
    /// An item is an error if its node can't be decoded or its range leaves the address
    /// space; the other items are still valid. If a `reg` ends in an incomplete entry, the
    /// complete entries are still returned, as in Linux, and the error after them. But if
    /// one of them is beyond all addresses of an Arm CPU, the `reg` was written for other
    /// cell counts, and only the error is returned.
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

    /// Returns the ranges that the kernel must not use: those of the memory reservation
    /// block, and of the children of `/reserved-memory` that have a `reg`. They come in any
    /// order, may overlap, and need not be RAM.
    ///
    /// Addresses are the CPU's: the specification demands that `/reserved-memory` has an
    /// empty `ranges` (Devicetree Specification, "/reserved-memory Node").
    ///
    /// An item is an error if its node can't be decoded. Then any part of memory may be
    /// reserved, so the caller must not use any.
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

/// The end of the physical addresses that an Arm CPU may have (Arm ARM, FEAT_LPA: 52
/// bits).
const END_OF_ADDRESSES: u64 = 1 << 52;

/// Returns the entries of a memory node's `reg` that are not empty, and the error in it if
/// there is one.
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

/// Returns the entries of a node's `reg` that are not empty, or the error in it.
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
