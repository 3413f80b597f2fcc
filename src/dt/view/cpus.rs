//! The CPUs, and how each of them is started.

use super::DeviceTree;
use super::cells::{self, Cells};
use super::text::Text;
use super::walk::{Node, Status, is_named, is_of_type, status};
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

/// What a CPU's `status` says of it (Devicetree Specification, 3.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuStatus {
    /// It may be running.
    Okay,
    /// "disabled": it is quiescent, and is started by its enable-method.
    Quiescent,
    /// "fail", or "fail-" and why: it is broken, or there isn't one.
    Failed,
    /// Anything else, "reserved" too: it isn't ours.
    Other,
}

/// One CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuDesc {
    /// Its affinity.
    pub mpidr: Mpidr,
    /// How it is started.
    pub enable_method: EnableMethod,
    /// What its `status` says.
    pub status: CpuStatus,
}

impl CpuDesc {
    /// Returns whether the tree lets it be started: it is okay, or it is quiescent and the
    /// tree says how it is started.
    ///
    /// So does Linux on arm64, which leaves out only what has failed
    /// (`drivers/of/base.c`, `of_get_next_cpu_node`); unlike it, we leave a CPU
    /// alone that is reserved.
    pub fn may_start(&self) -> bool {
        match self.status {
            CpuStatus::Okay => true,
            CpuStatus::Quiescent => self.enable_method != EnableMethod::Unknown,
            CpuStatus::Failed | CpuStatus::Other => false,
        }
    }
}

impl<'a> DeviceTree<'a> {
    /// Returns the CPUs in the tree's order, those too that may not be started: the
    /// children of `/cpus` that are CPUs by their `device_type` or, as for Linux, by their
    /// name.
    ///
    /// An item is an error if its node can't be decoded; the others are still
    /// good.
    pub fn cpus(&self) -> impl Iterator<Item = Result<CpuDesc, DtError>> + '_ {
        self.children_of("cpus")
            .filter(|(_, node)| is_named(*node, "cpu") || is_of_type(*node, "cpu"))
            .map(|(cpus, node)| cpu(cpus, node))
    }
}

fn cpu(cpus: Node<'_, '_>, node: Node<'_, '_>) -> Result<CpuDesc, DtError> {
    let kind = NodeKind::Cpu;
    let reg = node
        .property("reg")
        .ok_or(DtError::PropertyMissing(kind, "reg"))?;
    let mut cells = Cells(reg.value);
    let name = "#address-cells";
    let count = match cells::cell_property(cpus, kind, name)? {
        Some(count) if !(1..=2).contains(&count) => {
            return Err(DtError::BadCellCount(kind, name, count));
        }
        Some(count) => count,
        // The specification says 2, Linux takes the root's. A CPU's `reg` is one address
        // and no size, so it tells by its length.
        None if cells.is_multiple_of(2) => 2,
        None => 1,
    };
    let raw = cells
        .number(count)
        .filter(|_| cells.is_empty())
        .ok_or(DtError::BadProperty(kind, "reg"))?;
    Ok(CpuDesc {
        mpidr: Mpidr::from_reg(raw).ok_or(DtError::BadAffinity(raw))?,
        enable_method: enable_method(cpus, node)?,
        status: match status(node) {
            Status::Okay => CpuStatus::Okay,
            Status::Disabled => CpuStatus::Quiescent,
            Status::Failed => CpuStatus::Failed,
            Status::Other => CpuStatus::Other,
        },
    })
}

/// Returns the enable method of `node`, or the one that `/cpus` gives for all.
fn enable_method(cpus: Node<'_, '_>, node: Node<'_, '_>) -> Result<EnableMethod, DtError> {
    let own = node.property("enable-method");
    let Some(method) = own.or_else(|| cpus.property("enable-method")) else {
        return Ok(EnableMethod::Unknown);
    };
    let name = "cpu-release-addr";
    match Text::new(method.value).bytes() {
        b"psci" => Ok(EnableMethod::Psci),
        b"spin-table" => {
            let release_addr = cells::number_property(node, NodeKind::Cpu, name)?
                .ok_or(DtError::PropertyMissing(NodeKind::Cpu, name))?;
            if !release_addr.is_multiple_of(8) {
                return Err(DtError::BadProperty(NodeKind::Cpu, name));
            }
            Ok(EnableMethod::SpinTable { release_addr })
        }
        b"" => Err(DtError::BadProperty(NodeKind::Cpu, "enable-method")),
        _ => Ok(EnableMethod::Unknown),
    }
}
