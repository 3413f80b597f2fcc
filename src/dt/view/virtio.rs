//! Virtio devices whose registers the tree names.

use super::DeviceTree;
use super::address::{PhysRange, mmio};
use super::interrupt::InterruptSpec;
use super::walk::{Path, is_compatible};
use crate::dt::error::{DtError, NodeKind};

/// The `compatible` of a virtio device over MMIO (`virtio/mmio.yaml`).
const COMPATIBLE: &str = "virtio,mmio";

/// The size of the registers in front of a device's configuration, in bytes (Virtio 1.2,
/// 4.2.2 MMIO Device Register Layout).
const LEAST: u64 = 0x100;

/// A place for a virtio device over MMIO. Whether a device is there say its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioMmioDesc {
    /// Its registers, as the CPU addresses them.
    pub registers: PhysRange,
    /// Its interrupt.
    pub interrupt: Result<InterruptSpec, DtError>,
    /// Whether the device sees what the CPUs have in their caches.
    pub coherent: bool,
}

impl DeviceTree<'_> {
    /// Returns the places for virtio devices over MMIO, in the tree's order. A place that can't
    /// be decoded is an error, and the others are still returned. The iterator has a size of
    /// about 4 KiB.
    pub fn virtio_mmio(&self) -> impl Iterator<Item = Result<VirtioMmioDesc, DtError>> {
        self.filter_map(|path| {
            let found = is_compatible(path.node(), &[COMPATIBLE]) && path.is_enabled();
            found.then(|| self.read_virtio(path))
        })
    }

    fn read_virtio(&self, path: &Path<'_, '_>) -> Result<VirtioMmioDesc, DtError> {
        let registers = mmio(path, NodeKind::Virtio, 0)?;
        if registers.size() < LEAST || !registers.start().is_multiple_of(4) {
            return Err(DtError::BadProperty(NodeKind::Virtio, "reg"));
        }
        Ok(VirtioMmioDesc {
            registers,
            interrupt: self.interrupt(path, NodeKind::Virtio, 0),
            coherent: is_coherent(path),
        })
    }
}

/// Returns whether the device at `path` sees what the CPUs have in their caches: the nearest of
/// the node and those above it says so that says anything (Devicetree Specification,
/// "dma-coherent" and "dma-noncoherent"). Without a word it doesn't, as Linux reads it on Arm.
pub(super) fn is_coherent(path: &Path<'_, '_>) -> bool {
    core::iter::once(path.node())
        .chain(path.parents())
        .find_map(|node| {
            let says = |name| node.property(name).is_some();
            (says("dma-coherent") || says("dma-noncoherent")).then(|| says("dma-coherent"))
        })
        .unwrap_or(false)
}
