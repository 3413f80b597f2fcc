//! The CPUs, and the way in which each of them is started.

use super::DeviceTree;
use super::cells::{self, Cells};
use super::text::Text;
use super::walk::{Node, Status, is_named, is_of_type, status};
use crate::cpu::Mpidr;
use crate::dt::error::{DtError, NodeKind};

/// The way in which a CPU is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnableMethod {
    /// Firmware starts it (PSCI CPU_ON).
    Psci,
    /// The CPU polls a word, and starts at the address that is written there.
    SpinTable {
        /// Physical address of the 64-bit word.
        release_addr: u64,
    },
    /// The tree names no method that is known here. QEMU's tree names none for a CPU that is
    /// the only one.
    Unknown,
}

/// The meaning of a CPU's `status` (Devicetree Specification, "/cpus/cpu* Node
/// Properties").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuStatus {
    /// "okay", "ok" or no status: the CPU may be running.
    Okay,
    /// "disabled": the CPU is quiescent, and its enable-method starts it.
    Quiescent,
    /// "fail", or "fail-" and a reason: the CPU is broken or missing.
    Failed,
    /// Anything else, such as "reserved": another program owns the CPU.
    Other,
}

/// One CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuDesc {
    /// Its affinity.
    pub mpidr: Mpidr,
    /// The way in which it is started.
    pub enable_method: EnableMethod,
    /// The meaning of its `status`.
    pub status: CpuStatus,
}

impl CpuDesc {
    /// Returns whether the kernel may start this CPU: its status is "okay", or it is
    /// quiescent and has a known enable-method.
    ///
    /// Linux on arm64 leaves out only CPUs that have failed (`drivers/of/base.c`,
    /// `of_get_next_cpu_node`). Unlike Linux, this kernel doesn't start a reserved CPU.
    pub fn may_start(&self) -> bool {
        match self.status {
            CpuStatus::Okay => true,
            CpuStatus::Quiescent => self.enable_method != EnableMethod::Unknown,
            CpuStatus::Failed | CpuStatus::Other => false,
        }
    }
}

impl<'a> DeviceTree<'a> {
    /// Returns the CPUs in the tree's order, including those that may not be started. They
    /// are the children of `/cpus` whose `device_type` or, as in Linux, whose name is "cpu".
    ///
    /// An item is an error if its node can't be decoded; the other items are still valid.
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
        // Without the property the specification says 2, and Linux takes the root's. A
        // CPU's `reg` is one address without a size, so its length tells the count.
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
