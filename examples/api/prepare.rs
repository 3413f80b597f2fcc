extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::hotplug::{InstallError, PrepareStep, Step};
use stillpoint::api::sync::Mutex;

/// Keeps a buffer for each CPU that is online.
pub(crate) fn buffers() -> Result<Step, InstallError> {
    let buffers = Arc::new(Mutex::new(BTreeMap::new()));
    let freed = Arc::clone(&buffers);
    PrepareStep::new("buffers")
        .startup(move |cpu| {
            let buffer = Vec::<u8>::with_capacity(4096);
            buffers.lock().insert(cpu, buffer);
            Ok(())
        })
        .teardown(move |cpu| drop(freed.lock().remove(&cpu)))
        .install()
}
