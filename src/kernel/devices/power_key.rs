//! The key that turns the machine off: what a virtual machine's host presses to shut it down.

use crate::drivers::pl061::Pl061Key;
use crate::dt::PowerKeyDesc;
use crate::irq::IrqReturn;
use crate::kernel::exit::{end_alone, exit};
use crate::kernel::irqs::IrqBuilder;
use crate::platform::IrqLine;

/// Has the key turn the machine off, as the shell's `poweroff` does.
pub(super) fn start(place: &PowerKeyDesc) {
    let spec = place.interrupt;
    let Some(line) = IrqLine::from_intid(spec.irq.intid(), spec.trigger) else {
        log::warn!("power key: its interrupt is {:?}", spec.irq);
        return;
    };
    // SAFETY: the tree says that it is there, and `boot` mapped it as device memory, for ever. It
    // passes it once.
    let key = unsafe { Pl061Key::new(place.registers.start(), place.line, place.active_low) };
    let Some(key) = key else {
        return;
    };
    let handler = move || {
        if key.take_press() {
            IrqReturn::WakeThread
        } else {
            IrqReturn::None
        }
    };
    let wishes = IrqBuilder::new("power-key").threaded(|| {
        log::info!("The power key was pressed");
        end_alone(|| exit(0))
    });
    match wishes.request(line, handler) {
        // It is served as long as the kernel lives.
        Ok(irq) => core::mem::forget(irq),
        Err(error) => log::warn!("power key: {error}"),
    }
}
