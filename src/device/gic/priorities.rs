//! A check on the running machine that the priority mask separates the wake and panic
//! SGIs from the other interrupts.

use core::time::Duration;

use crate::config::{PMR_CLOSED, PMR_OPEN};
use crate::platform::{Irq, IrqChipError, Sgi};

/// How long an SGI may take from a CPU to itself.
const LIMIT: Duration = Duration::from_millis(100);

/// How long the check waits for an SGI that the mask should hold back.
const HELD_BACK_LIMIT: Duration = Duration::from_millis(1);

/// The parts of a GIC that [`check_priorities`] uses: SGIs that the running CPU sends to
/// itself.
pub trait OwnSgis {
    /// Turns `sgi` on, at its priority; wake and panic are on already.
    fn turn_on(&self, sgi: Sgi);

    /// Turns all private interrupts but wake and panic off, and clears those that are
    /// pending.
    fn quieten(&self);

    /// Writes the priority mask; the write has taken effect on return.
    fn set_priority_mask(&self, mask: u8);

    /// Sends `sgi` to this CPU.
    fn send(&self, sgi: Sgi);

    /// Acknowledges the most urgent interrupt that the mask lets through, ends it, and
    /// returns it; `None` if there is none.
    fn take(&self) -> Option<Irq>;

    /// Calls `done` until it returns true or `limit` has passed. Returns whether it
    /// returned true.
    fn poll(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool;
}

/// Does what [`check_priorities`](crate::platform::IrqChip::check_priorities)
/// promises, with the SGIs for wake and reschedule.
///
/// With the mask closed it sends the ordinary SGI (reschedule), then the urgent one
/// (wake). The urgent one has to come first. After its end the next acknowledge has to
/// find nothing. The ordinary one has to come as soon as the mask is open, which shows
/// that it was pending. The pending state itself is never read, because some GICs read
/// it as zero.
///
/// # Context
/// Boot CPU, IRQs masked, before [`startup_cpu`](crate::platform::IrqChip::startup_cpu)
/// and before any PPI or SPI is on, so that no other interrupt can come.
///
/// # Errors
/// [`IrqChipError::PrioritiesUnusable`].
pub fn check_priorities(chip: &impl OwnSgis) -> Result<(), IrqChipError> {
    chip.turn_on(Sgi::Reschedule);
    chip.set_priority_mask(PMR_CLOSED);
    chip.send(Sgi::Reschedule);
    chip.send(Sgi::Wake);
    let urgent = next(chip, LIMIT);
    // No interrupt is active now, so only the mask can hold the ordinary one back. The
    // wait gives the GIC time to signal it wrongly.
    let held_back = next(chip, HELD_BACK_LIMIT);
    chip.set_priority_mask(PMR_OPEN);
    let ordinary = next(chip, LIMIT);
    chip.quieten();
    let wanted = (
        Some(Irq::Sgi(Sgi::Wake)),
        None,
        Some(Irq::Sgi(Sgi::Reschedule)),
    );
    if (urgent, held_back, ordinary) == wanted {
        Ok(())
    } else {
        Err(IrqChipError::PrioritiesUnusable)
    }
}

/// Takes the next interrupt and returns it; `None` if none comes within `limit`.
fn next(chip: &impl OwnSgis, limit: Duration) -> Option<Irq> {
    let mut came = None;
    chip.poll(limit, &mut || {
        came = chip.take();
        came.is_some()
    });
    came
}
