//! How firmware is called.

use super::DeviceTree;
use super::text::Text;
use super::walk::{Path, is_compatible};
use crate::dt::error::{DtError, NodeKind};
use crate::platform::Conduit;

/// The version that the tree promises. Only a hint: firmware is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PsciBinding {
    /// `arm,psci`: 0.1, whose function numbers only its node knows.
    V0_1,
    /// `arm,psci-0.2`: the function numbers of DEN 0022.
    V0_2,
    /// `arm,psci-1.0`: PSCI_FEATURES too.
    V1_0,
}

/// The PSCI node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PsciDesc {
    /// How to call.
    pub conduit: Conduit,
    /// The newest version that `compatible` names.
    pub version: PsciBinding,
}

/// What `compatible` may say, the newest first.
const VERSIONS: [(&str, PsciBinding); 3] = [
    ("arm,psci-1.0", PsciBinding::V1_0),
    ("arm,psci-0.2", PsciBinding::V0_2),
    ("arm,psci", PsciBinding::V0_1),
];

impl DeviceTree<'_> {
    /// Returns the firmware interface; `None` if there is none, as on a Raspberry Pi.
    ///
    /// # Errors
    /// [`DtError`] if there is one that doesn't say how it is called.
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
