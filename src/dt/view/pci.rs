//! PCI hosts whose configuration space lies in memory.

use super::DeviceTree;
use super::address::{PhysRange, mmio, to_cpu};
use super::cells::{Cells, cell_property};
use super::interrupt::InterruptSpec;
use super::virtio::is_coherent;
use super::walk::{Path, is_compatible};
use crate::dt::error::{DtError, NodeKind};

/// The `compatible` of a host with an ECAM (`pci/host-generic-pci.yaml`).
const COMPATIBLE: &str = "pci-host-ecam-generic";

/// The size of the configuration space of a bus, in bytes.
const BUS_SIZE: u64 = 1 << 20;

/// The cells of an address on the bus: one of flags, and two of the address itself
/// (IEEE 1275, PCI Bus Binding, 2.2.1.1).
const ADDRESS_CELLS: u32 = 3;

/// The type of an address: 32-bit memory. The flag says that reading has no effect.
const TYPE: u32 = 3 << 24;
const MEMORY_32: u32 = 2 << 24;
const PREFETCHABLE: u32 = 1 << 30;

/// A PCI host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciHostDesc {
    /// The configuration space of its first bus.
    pub config: PhysRange,
    /// Where registers in 32-bit memory are seen by CPUs.
    pub window: PhysRange,
    /// The address on the bus at which that begins.
    pub bus_start: u64,
    /// Whether the functions see what the CPUs have in their caches.
    pub coherent: bool,
}

impl<'a> DeviceTree<'a> {
    /// Returns the first PCI host; `None` if the tree has none.
    ///
    /// # Errors
    /// It can't be decoded.
    pub fn pci_host(&self) -> Result<Option<PciHostDesc>, DtError> {
        self.at_host(read).transpose()
    }

    /// Returns the line of pin `pin`, 1 to 4, of device `device` on the first bus of the first PCI
    /// host.
    ///
    /// # Errors
    /// The host's map has no such entry, or can't be decoded.
    pub fn pci_line(&self, device: u8, pin: u32) -> Result<InterruptSpec, DtError> {
        self.at_host(|path| self.mapped(path, device, pin))
            .unwrap_or(Err(DtError::NodeMissing(NodeKind::Pci)))
    }

    #[inline(never)] // A walk has a frame of 4 KiB, and the boot stack isn't large.
    fn at_host<'b, T>(&'b self, mut read_fn: impl FnMut(&Path<'b, 'a>) -> T) -> Option<T> {
        self.find_map(|path| {
            let found = is_compatible(path.node(), &[COMPATIBLE]) && path.is_enabled();
            found.then(|| read_fn(path))
        })
    }

    /// Looks device and pin up in the map of the host at `path` (Devicetree Specification,
    /// "Interrupt Nexus Properties").
    fn mapped(&self, path: &Path<'_, 'a>, device: u8, pin: u32) -> Result<InterruptSpec, DtError> {
        let name = "interrupt-map";
        let bad = DtError::BadProperty(NodeKind::Pci, name);
        let node = path.node();
        let property = node
            .property(name)
            .ok_or(DtError::PropertyMissing(NodeKind::Pci, name))?;
        let mut mask = [u32::MAX; 4];
        if let Some(property) = node.property("interrupt-map-mask") {
            let mut cells = Cells(property.value);
            for word in &mut mask {
                *word = cells
                    .cell()
                    .ok_or(DtError::BadProperty(NodeKind::Pci, "interrupt-map-mask"))?;
            }
        }
        let wanted = [u32::from(device) << 11, 0, 0, pin];
        let mut cells = Cells(property.value);
        while !cells.is_empty() {
            let mut entry = [0; 4];
            for word in &mut entry {
                *word = cells.cell().ok_or(bad)?;
            }
            let phandle = cells.cell().ok_or(bad)?;
            let (spec, rest) = self.mapped_to(phandle, cells, NodeKind::Pci)?;
            cells = rest;
            let masked = wanted.iter().zip(mask).map(|(word, mask)| word & mask);
            if masked.eq(entry.iter().zip(mask).map(|(word, mask)| word & mask)) {
                return spec.ok_or(bad);
            }
        }
        Err(bad)
    }
}

fn read(path: &Path<'_, '_>) -> Result<PciHostDesc, DtError> {
    let kind = NodeKind::Pci;
    let whole = mmio(path, kind, 0)?;
    let config = PhysRange::new(whole.start(), BUS_SIZE)
        .filter(|config| config.end() <= whole.end() && config.start().is_multiple_of(4))
        .ok_or(DtError::BadProperty(kind, "reg"))?;
    let node = path.node();
    let bad = DtError::BadProperty(kind, "ranges");
    let property = node
        .property("ranges")
        .ok_or(DtError::PropertyMissing(kind, "ranges"))?;
    let cells_of = |node, name| Ok(cell_property(node, kind, name)?.unwrap_or(2));
    let parent = path.parents().next().ok_or(bad)?;
    let outer = cells_of(parent, "#address-cells")?;
    let size_cells = cells_of(node, "#size-cells")?;
    if cell_property(node, kind, "#address-cells")? != Some(ADDRESS_CELLS) {
        return Err(DtError::BadProperty(kind, "#address-cells"));
    }
    let mut cells = Cells(property.value);
    while !cells.is_empty() {
        let flags = cells.cell().ok_or(bad)?;
        let bus_start = cells.number(2).ok_or(bad)?;
        let mut start = cells.take(outer).ok_or(bad)?;
        let size = cells.number(size_cells).ok_or(bad)?;
        if flags & (TYPE | PREFETCHABLE) != MEMORY_32 || size == 0 {
            continue;
        }
        let window = start
            .number(outer)
            .and_then(|start| PhysRange::new(start, size))
            .ok_or(bad)?;
        if bus_start.checked_add(size).is_none_or(|end| end > 1 << 32) {
            return Err(bad);
        }
        return Ok(PciHostDesc {
            config,
            window: to_cpu(path, kind, window)?,
            bus_start,
            coherent: is_coherent(path),
        });
    }
    Err(bad)
}
