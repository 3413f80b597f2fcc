use stillpoint::api::cpu::CpuId;
use stillpoint::api::hotplug::{
    DisableGuard, FreezeError, Frozen, HotplugDisabled, ThawError, WouldDeadlock,
};
use stillpoint::api::hotplug::{disable, freeze};
use stillpoint::println;

/// Has `snapshot_fn` run on a machine of one CPU: what it copies, no other CPU changes.
pub(crate) fn alone(snapshot_fn: impl FnOnce()) -> Result<(), FreezeError> {
    let frozen = match freeze(CpuId::BOOT) {
        Ok(frozen) => frozen,
        Err(error @ FreezeError::Disabled(HotplugDisabled)) => {
            println!("another thread wants the CPUs to stay");
            return Err(error);
        }
        Err(error) => {
            println!("{}: {error}", error.errno().name());
            return Err(error);
        }
    };
    snapshot_fn();
    bring_back(frozen);
    Ok(())
}

/// To drop the value brings the CPUs back too. To thaw it tells what became of them.
fn bring_back(mut frozen: Frozen) {
    let away = frozen.cpus();
    match frozen.thaw() {
        Ok(()) => println!("CPUs {away} are back"),
        // Hotplug is enabled, so each can be tried again.
        Err(ThawError::Up { error, away }) => println!("{away} CPUs are missing: {error}"),
        Err(error) => println!("{}", error.errno().name()),
    }
}

/// Keeps the CPUs as they are while something is measured. A thread that wants to move one gets
/// EBUSY at once; under `cpus_read_lock` it would wait.
pub(crate) fn measured<R>(measure_fn: impl FnOnce() -> R) -> Result<R, WouldDeadlock> {
    let disabled: DisableGuard = disable()?;
    let value = measure_fn();
    drop(disabled);
    Ok(value)
}
