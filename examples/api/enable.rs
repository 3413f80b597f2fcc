use core::sync::atomic::{AtomicBool, Ordering};

use stillpoint::api::Errno;
use stillpoint::api::hotplug::{EnableStep, InstallError, Step};
use stillpoint::println;

static MEASURING: AtomicBool = AtomicBool::new(false);

/// Lets no CPU go while something is measured.
pub(crate) fn hold_while_measuring() -> Result<Step, InstallError> {
    EnableStep::new("measure")
        .startup(|cpu| {
            println!("CPU{cpu} is here");
            Ok(())
        })
        .teardown(|_cpu| match MEASURING.load(Ordering::Relaxed) {
            true => Err(Errno::Busy),
            false => Ok(()),
        })
        .install()
}

pub(crate) fn measure(measure_fn: impl FnOnce()) {
    MEASURING.store(true, Ordering::Relaxed);
    measure_fn();
    MEASURING.store(false, Ordering::Relaxed);
}
