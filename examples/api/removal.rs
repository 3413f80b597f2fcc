use stillpoint::api::hotplug::{
    EnableStep, InstallError, Instance, MultiStep, MultiStepBuilder, NotRemoved, Step,
};
use stillpoint::println;

/// A driver that may be unplugged at any time, by whatever thread.
pub(crate) struct Driver {
    step: Step,
}

impl Driver {
    /// Takes over from the firmware, which has set up the CPUs that are online: the step isn't
    /// called for them.
    pub(crate) fn take_over() -> Result<Driver, InstallError> {
        let step = EnableStep::new("driver").teardown(|cpu| {
            println!("CPU{cpu} is disconnected");
            Ok(())
        });
        let installed = step.install_nocalls();
        if let Err(error @ InstallError::NoFreeSlot) = installed {
            println!("too many drivers: {}", error.errno().name());
        }
        Ok(Driver { step: installed? })
    }

    /// Ends the driver. In a callback of hotplug that can't be done: the driver comes back, and
    /// has not to be dropped there.
    pub(crate) fn unplug(self) -> Result<(), Driver> {
        let name = self.step.name();
        self.step.remove().map_err(|NotRemoved { handle, why }| {
            println!("{name} stays: this is a thread that {why}");
            Driver { step: handle }
        })
    }

    /// Ends it where the device is gone: there is nothing to disconnect.
    pub(crate) fn forget(self) -> Result<(), NotRemoved<Step>> {
        self.step.remove_nocalls()
    }

    /// Leaves it there for as long as the machine runs. No value has to be kept for that.
    pub(crate) fn stay(self) {
        self.step.keep();
    }
}

/// The same with the parts of a device, each of which may go alone.
pub(crate) fn parts() -> Result<(), InstallError> {
    let parts: MultiStep<&str> = MultiStepBuilder::new("parts").install()?;
    let clock: Instance<&str> = parts.add("clock")?;
    let fan: Instance<&str> = parts.add("fan")?;
    let light = parts.add_nocalls("light")?; // It is on already, on every CPU.
    light.keep(); // Until its step goes.
    if let Err(failed) = clock.remove() {
        println!("{}", failed.errno().name());
        failed.handle.keep();
    }
    let unplugged = fan.remove_nocalls();
    println!("{}: the fan is gone: {}", parts.name(), unplugged.is_ok());
    match parts.remove() {
        Ok(()) => {}
        Err(NotRemoved { handle, .. }) => handle.keep(),
    }
    Ok(())
}
