use stillpoint::api::hotplug::{EnableStep, InstallError, Step, registration_lock};
use stillpoint::println;

/// Greets the CPUs that are online, all in one line, and later each that comes.
pub(crate) fn greet() -> Result<Step, InstallError> {
    let guard = registration_lock()?;
    println!("welcome, CPUs {}", guard.online());
    let step = EnableStep::new("greet").startup(|cpu| {
        println!("welcome, CPU{cpu}");
        Ok(())
    });
    step.install_nocalls_under(&guard)
}
