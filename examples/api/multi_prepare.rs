use alloc::vec::Vec;

use stillpoint::api::cpu::CpuId;
use stillpoint::api::hotplug::{InstallError, MultiPrepareStepBuilder, MultiStep};
use stillpoint::api::sync::Mutex;

/// A device that has a buffer for each CPU.
pub(crate) struct Device {
    pub(crate) buffers: Mutex<Vec<(CpuId, Vec<u8>)>>,
}

/// Returns a step to which each device is added: a CPU that comes finds the buffers ready.
pub(crate) fn devices() -> Result<MultiStep<Device>, InstallError> {
    MultiPrepareStepBuilder::new("devices")
        .startup(|cpu, device: &Device| {
            device.buffers.lock().push((cpu, Vec::from([0; 64])));
            Ok(())
        })
        .teardown(|cpu, device: &Device| {
            device.buffers.lock().retain(|(of, _)| *of != cpu);
        })
        .install()
}
