use core::time::Duration;

use stillpoint::api::sync::Completion;
use stillpoint::api::time::deadline;
use stillpoint::println;

/// A device that answers each command by an interrupt.
pub(crate) struct Device {
    answered: Completion,
    is_ready: Completion,
}

impl Device {
    pub(crate) const fn new() -> Device {
        Device {
            answered: Completion::new(),
            is_ready: Completion::new(),
        }
    }

    /// The interrupt handler. An answer that comes before a thread waits isn't lost: it is counted.
    pub(crate) fn on_interrupt(&self) {
        self.answered.complete();
    }

    /// Sends a command; returns whether it is answered within a second.
    pub(crate) fn command(&self, send_fn: impl FnOnce()) -> bool {
        // An answer that came too late is not for this command.
        while self.answered.try_wait() {
            println!("an answer was late");
        }
        send_fn();
        self.answered.wait_until(deadline(Duration::from_secs(1)))
    }

    /// Lets all threads go on that wait for the device, and all that will.
    pub(crate) fn set_ready(&self) {
        self.is_ready.complete_all();
    }

    /// Waits for a device that may take minutes, and says every ten seconds that it does.
    pub(crate) fn wait_until_ready(&self) {
        let say = || println!("the device still starts");
        self.is_ready.wait_patiently(say);
    }

    /// Turns it off: from now on threads have to wait again. None waits at this moment.
    pub(crate) fn turn_off(&self) {
        self.is_ready.reset();
    }
}
