//! The interrupt controller.

use super::DeviceTree;
use super::address::{PhysRange, mmio};
use super::cells::{cell_property, number_property};
use super::walk::{Path, is_compatible};
use crate::dt::error::{DtError, NodeKind};

/// The `compatible` of a GICv3, and of a GICv4.
pub(super) const COMPATIBLE_V3: &str = "arm,gic-v3";

/// The `compatible` of controllers with the programming model of GICv2.
pub(super) const COMPATIBLE_V2: [&str; 6] = [
    "arm,gic-400",
    "arm,cortex-a15-gic",
    "arm,cortex-a9-gic",
    "arm,cortex-a7-gic",
    "qcom,msm-qgic2",
    "qcom,msm-8660-qgic",
];

/// How many regions of redistributors are kept at most. QEMU has two. A server has one for
/// each chip, and at most 16 chips (Arm GIC-700).
pub const MAX_REDISTRIBUTOR_REGIONS: usize = 16;

/// The least size of a redistributor's frames together, in bytes (IHI 0069, Redistributor
/// memory map).
const MIN_STRIDE: u64 = 0x2_0000;

/// The interrupt controller, with its registers as the CPU addresses them.
#[expect(
    clippy::large_enum_variant,
    reason = "only one exists at a time, and there is no heap yet"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicDesc {
    /// GICv3 and GICv4, driven by system registers.
    V3 {
        /// The distributor.
        distributor: PhysRange,
        /// The redistributors.
        redistributors: Redistributors,
        /// Bytes from one redistributor to the next, where the tree overrides the distance
        /// that GICR_TYPER gives.
        stride: Option<u64>,
    },
    /// GICv2.
    V2 {
        /// The distributor.
        distributor: PhysRange,
        /// The CPU interface, banked for each CPU.
        cpu_interface: PhysRange,
    },
}

/// The regions that contain the redistributors; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redistributors {
    /// The regions, of which the first `count` are valid.
    ranges: [PhysRange; MAX_REDISTRIBUTOR_REGIONS],
    count: usize,
    /// How many regions of the tree are not in `ranges`.
    left_out: u32,
}

impl Redistributors {
    /// Returns the regions, in the tree's order.
    pub fn as_slice(&self) -> &[PhysRange] {
        self.ranges.get(..self.count).unwrap_or_default()
    }

    /// Returns how many regions of the tree are left out because there is no room for them.
    /// A CPU whose redistributor is in such a region can't be used.
    pub fn left_out(&self) -> u32 {
        self.left_out
    }
}

impl DeviceTree<'_> {
    /// Returns the interrupt controller of the CPUs.
    ///
    /// # Errors
    /// [`DtError::NodeMissing`] if the tree has no enabled controller of a known kind;
    /// another error if the first one can't be decoded.
    pub fn gic(&self) -> Result<GicDesc, DtError> {
        self.find_map(|path| {
            if is_compatible(path.node(), &[COMPATIBLE_V3]) && path.is_enabled() {
                Some(v3(path))
            } else if is_compatible(path.node(), &COMPATIBLE_V2) && path.is_enabled() {
                Some(v2(path))
            } else {
                None
            }
        })
        .unwrap_or(Err(DtError::NodeMissing(NodeKind::Gic)))
    }
}

fn v2(path: &Path<'_, '_>) -> Result<GicDesc, DtError> {
    Ok(GicDesc::V2 {
        distributor: mmio(path, NodeKind::Gic, 0)?,
        cpu_interface: mmio(path, NodeKind::Gic, 1)?,
    })
}

fn v3(path: &Path<'_, '_>) -> Result<GicDesc, DtError> {
    let kind = NodeKind::Gic;
    let name = "#redistributor-regions";
    let regions = cell_property(path.node(), kind, name)?.unwrap_or(1);
    let count = usize::try_from(regions)
        .unwrap_or(usize::MAX)
        .min(MAX_REDISTRIBUTOR_REGIONS);
    if count == 0 {
        return Err(DtError::BadProperty(kind, name));
    }
    let left_out = regions.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
    let distributor = mmio(path, kind, 0)?;
    let mut ranges = [distributor; MAX_REDISTRIBUTOR_REGIONS];
    for (index, range) in ranges.iter_mut().take(count).enumerate() {
        *range = mmio(path, kind, 1 + index)?;
    }
    let name = "redistributor-stride";
    let stride = number_property(path.node(), kind, name)?;
    // Some trees write 0 where the distance is the one that GICR_TYPER gives. Linux reads
    // 0 in the same way.
    let stride = stride.filter(|stride| *stride != 0);
    if stride.is_some_and(|stride| stride < MIN_STRIDE || !stride.is_multiple_of(0x1_0000)) {
        return Err(DtError::BadProperty(kind, name));
    }
    Ok(GicDesc::V3 {
        distributor,
        redistributors: Redistributors {
            ranges,
            count,
            left_out,
        },
        stride,
    })
}
