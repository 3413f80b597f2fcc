//! The CPUs, and how each of them is started.

use super::DeviceTree;
use super::cells::{self, Cells};
use super::walk::{Node, is_enabled};
use crate::cpu::Mpidr;
use crate::dt::error::{DtError, NodeKind};

/// How a CPU is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnableMethod {
    /// By firmware, with CPU_ON.
    Psci,
    /// By an address written to a word that the CPU polls.
    SpinTable {
        /// Physical address of the 64-bit word.
        release_addr: u64,
    },
    /// Not at all as far as we know. QEMU's only CPU has no method either.
    Unknown,
}

/// One CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuDesc {
    /// Its affinity.
    pub mpidr: Mpidr,
    /// How it is started.
    pub enable_method: EnableMethod,
    /// Whether its `status` lets it be used.
    pub enabled: bool,
}

impl<'a> DeviceTree<'a> {
    /// The CPUs in the tree's order, disabled ones too.
    ///
    /// An item is an error if its node can't be decoded; the others are still
    /// good.
    pub fn cpus(&self) -> impl Iterator<Item = Result<CpuDesc, DtError>> + '_ {
        self.children_of("cpus")
            .filter(|(_, node)| {
                node.property("device_type")
                    .is_some_and(|class| cells::text(class.value) == Some("cpu"))
            })
            .map(|(cpus, node)| cpu(cpus, node))
    }
}

fn cpu(cpus: Node<'_, '_>, node: Node<'_, '_>) -> Result<CpuDesc, DtError> {
    let kind = NodeKind::Cpu;
    let count = cells::cell_property(cpus, kind, "#address-cells")?
        .ok_or(DtError::PropertyMissing(kind, "#address-cells"))?;
    if !(1..=2).contains(&count) {
        return Err(DtError::BadCellCount(kind, "#address-cells", count));
    }
    let reg = node
        .property("reg")
        .ok_or(DtError::PropertyMissing(kind, "reg"))?;
    let mut cells = Cells(reg.value);
    let raw = cells
        .number(count)
        .filter(|_| cells.is_empty())
        .ok_or(DtError::BadProperty(kind, "reg"))?;
    Ok(CpuDesc {
        mpidr: Mpidr::from_reg(raw).ok_or(DtError::BadAffinity(raw))?,
        enable_method: enable_method(cpus, node)?,
        enabled: is_enabled(node),
    })
}

/// The enable method of `node`, or the one that `/cpus` gives for all.
fn enable_method(cpus: Node<'_, '_>, node: Node<'_, '_>) -> Result<EnableMethod, DtError> {
    let own = node.property("enable-method");
    let Some(method) = own.or_else(|| cpus.property("enable-method")) else {
        return Ok(EnableMethod::Unknown);
    };
    let name = "cpu-release-addr";
    match cells::texts(method.value).next() {
        Some("psci") => Ok(EnableMethod::Psci),
        Some("spin-table") => {
            let release_addr = cells::number_property(node, NodeKind::Cpu, name)?
                .ok_or(DtError::PropertyMissing(NodeKind::Cpu, name))?;
            if !release_addr.is_multiple_of(8) {
                return Err(DtError::BadProperty(NodeKind::Cpu, name));
            }
            Ok(EnableMethod::SpinTable { release_addr })
        }
        _ => Ok(EnableMethod::Unknown),
    }
}
