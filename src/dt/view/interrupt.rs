//! Interrupt specifiers of a GIC.

use super::DeviceTree;
use super::cells::{Cells, cell_property};
use super::gic;
use super::walk::{Node, Path, is_compatible};
use crate::dt::error::{DtError, NodeKind};
use crate::platform::{Irq, Trigger};

/// INTID of the first private interrupt, and the number of private interrupts (IHI 0069,
/// INTIDs).
const PPI: (u32, u32) = (16, 16);

/// INTID of the first shared interrupt, and the number of shared interrupts.
const SPI: (u32, u32) = (32, 988);

/// An interrupt line of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptSpec {
    /// The interrupt, private or shared, with its INTID.
    pub irq: Irq,
    /// How the line is triggered. Level if the specifier doesn't tell, as the lines of
    /// timers and UARTs are.
    pub trigger: Trigger,
}

impl<'a> DeviceTree<'a> {
    /// Returns interrupt `index` of the node at `path`.
    ///
    /// If a node has both, `interrupts-extended` is read and `interrupts` is not (Devicetree
    /// Specification, "interrupts-extended").
    pub(super) fn interrupt(
        &self,
        path: &Path<'_, 'a>,
        kind: NodeKind,
        index: usize,
    ) -> Result<InterruptSpec, DtError> {
        if let Some(property) = path.node().property("interrupts-extended") {
            return self.extended(Cells(property.value), kind, index);
        }
        let name = "interrupts";
        let property = path
            .node()
            .property(name)
            .ok_or(DtError::PropertyMissing(kind, name))?;
        let parent = self.interrupt_parent(path)?;
        let count = specifier_cells(parent)?;
        let mut cells = Cells(property.value);
        for _ in 0..index {
            cells.take(count).ok_or(DtError::BadProperty(kind, name))?;
        }
        cells
            .take(count)
            .and_then(|specifier| decode(parent, specifier))
            .ok_or(DtError::BadProperty(kind, name))
    }

    /// Returns the controller that the `interrupts` of `path` go to: the one that the
    /// nearest `interrupt-parent` names, beginning at the node itself.
    fn interrupt_parent(&self, path: &Path<'_, 'a>) -> Result<Node<'_, 'a>, DtError> {
        let name = "interrupt-parent";
        for node in core::iter::once(path.node()).chain(path.parents()) {
            if let Some(phandle) = cell_property(node, NodeKind::InterruptParent, name)? {
                return self
                    .fdt
                    .find_phandle(phandle)
                    .ok_or(DtError::NodeMissing(NodeKind::InterruptParent));
            }
        }
        Err(DtError::PropertyMissing(NodeKind::InterruptParent, name))
    }

    /// Decodes the part of an entry of an `interrupt-map` that lies behind its phandle, at the front
    /// of `cells`. Returns the interrupt, `None` if it is none of a GIC's, and the cells behind it.
    pub(super) fn mapped_to<'c>(
        &self,
        phandle: u32,
        mut cells: Cells<'c>,
        kind: NodeKind,
    ) -> Result<(Option<InterruptSpec>, Cells<'c>), DtError> {
        let parent = self
            .fdt
            .find_phandle(phandle)
            .ok_or(DtError::NodeMissing(NodeKind::InterruptParent))?;
        // Without the property the address has no cells here, as Linux reads it.
        let address = cell_property(parent, NodeKind::InterruptParent, "#address-cells")?;
        let bad = DtError::BadProperty(kind, "interrupt-map");
        cells.take(address.unwrap_or(0)).ok_or(bad)?;
        let specifier = cells.take(specifier_cells(parent)?).ok_or(bad)?;
        Ok((decode(parent, specifier), cells))
    }

    /// Returns entry `index` of an `interrupts-extended`, each of whose entries names its
    /// controller.
    fn extended(
        &self,
        mut cells: Cells<'_>,
        kind: NodeKind,
        index: usize,
    ) -> Result<InterruptSpec, DtError> {
        let bad = DtError::BadProperty(kind, "interrupts-extended");
        let mut at = 0;
        loop {
            let phandle = cells.cell().ok_or(bad)?;
            let parent = self
                .fdt
                .find_phandle(phandle)
                .ok_or(DtError::NodeMissing(NodeKind::InterruptParent))?;
            let specifier = cells.take(specifier_cells(parent)?).ok_or(bad)?;
            if at == index {
                return decode(parent, specifier).ok_or(bad);
            }
            at += 1;
        }
    }
}

fn specifier_cells(parent: Node<'_, '_>) -> Result<u32, DtError> {
    let name = "#interrupt-cells";
    cell_property(parent, NodeKind::InterruptParent, name)?
        .ok_or(DtError::PropertyMissing(NodeKind::InterruptParent, name))
}

/// Decodes a specifier of the GIC `parent`: class, number, flags (`arm,gic.yaml`,
/// `arm,gic-v3.yaml`). A fourth cell names a set of CPUs and is ignored. Returns `None` if
/// it is no valid specifier or `parent` is no GIC.
fn decode(parent: Node<'_, '_>, mut specifier: Cells<'_>) -> Option<InterruptSpec> {
    if !is_compatible(parent, &gic::COMPATIBLE_V2) && !is_compatible(parent, &[gic::COMPATIBLE_V3])
    {
        return None;
    }
    let class = specifier.cell()?;
    let number = specifier.cell()?;
    let flags = specifier.cell()?;
    let irq = match class {
        0 if number < SPI.1 => Irq::Spi(SPI.0 + number),
        1 if number < PPI.1 => Irq::Ppi(PPI.0 + number),
        _ => return None,
    };
    // Bits 3:0: rising edge, falling edge, high level, low level.
    let trigger = match flags & 0xf {
        1..=3 => Trigger::Edge,
        _ => Trigger::Level,
    };
    Some(InterruptSpec { irq, trigger })
}
