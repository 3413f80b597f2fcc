use alloc::boxed::Box;

use stillpoint::api::module::{LoadError, Module, ModuleState, UnloadError};

/// What a packet filter does. A plugin brings one.
pub(crate) trait Filter: Send + Sync {
    fn accepts(&self, packet: &[u8]) -> bool;
}

static FILTER: Module<Box<dyn Filter>> = Module::new();

/// Is called on every CPU, for each packet. Without a plugin all packets are accepted.
pub(crate) fn accepts(packet: &[u8]) -> bool {
    FILTER.try_get().is_none_or(|filter| filter.accepts(packet))
}

/// Loads a plugin that accepts an empty packet: anything else would not be a filter.
pub(crate) fn load(
    plugin: Box<dyn Filter>,
) -> Result<(), LoadError<Box<dyn Filter>, &'static str>> {
    FILTER.load(plugin, |own| {
        own.accepts(&[])
            .then_some(())
            .ok_or("it refuses all packets")
    })
}

/// Takes the plugin away while packets come. No CPU is in it any more when this returns, so its
/// code could go too.
pub(crate) fn unload() -> Result<Box<dyn Filter>, UnloadError> {
    FILTER.unload()
}

pub(crate) fn state() -> ModuleState {
    FILTER.state_racy()
}
