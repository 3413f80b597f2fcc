//! The PSCI node: how firmware is called.

use super::DeviceTree;
use super::text::Text;
use super::walk::{Path, is_compatible};
use crate::dt::error::{DtError, NodeKind};
use crate::platform::Conduit;

/// The PSCI version that the tree names. It is only a hint, as firmware is asked for its
/// version too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PsciBinding {
    /// `arm,psci`: version 0.1, whose function numbers are in the node.
    V0_1,
    /// `arm,psci-0.2`: the function numbers of DEN 0022.
    V0_2,
    /// `arm,psci-1.0`: as 0.2, and with PSCI_FEATURES.
    V1_0,
}

/// The PSCI node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PsciDesc {
    /// The instruction that calls firmware.
    pub conduit: Conduit,
    /// The newest version that `compatible` names.
    pub version: PsciBinding,
}

/// The values of `compatible`, the newest first.
const VERSIONS: [(&str, PsciBinding); 3] = [
    ("arm,psci-1.0", PsciBinding::V1_0),
    ("arm,psci-0.2", PsciBinding::V0_2),
    ("arm,psci", PsciBinding::V0_1),
];

impl DeviceTree<'_> {
    /// Returns the PSCI node; `None` if the tree has no enabled one, as on a Raspberry Pi.
    ///
    /// # Errors
    /// [`DtError`] if the node's `method` is missing or unknown.
    pub fn psci(&self) -> Result<Option<PsciDesc>, DtError> {
        self.find_map(|path| read(path)).transpose()
    }
}

fn read(path: &Path<'_, '_>) -> Option<Result<PsciDesc, DtError>> {
    let (_, version) = VERSIONS
        .into_iter()
        .find(|(name, _)| is_compatible(path.node(), &[name]))?;
    if !path.is_enabled() {
        return None;
    }
    let Some(method) = path.node().property("method") else {
        return Some(Err(DtError::PropertyMissing(NodeKind::Psci, "method")));
    };
    let conduit = match Text::new(method.value).bytes() {
        b"hvc" => Conduit::Hvc,
        b"smc" => Conduit::Smc,
        _ => return Some(Err(DtError::BadProperty(NodeKind::Psci, "method"))),
    };
    Some(Ok(PsciDesc { conduit, version }))
}
