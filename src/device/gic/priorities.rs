//! The proof, on the machine at hand, that the priority mask separates wake and
//! panic from the rest.

use core::time::Duration;

use crate::config::{PMR_CLOSED, PMR_OPEN};
use crate::platform::{Irq, IrqChipError, Sgi};

/// How long a self-SGI may take.
const LIMIT: Duration = Duration::from_millis(100);

/// How long what the mask holds back is waited for in vain.
const IN_VAIN: Duration = Duration::from_millis(1);

/// What [`check_priorities`] needs of a GIC: the SGIs that the CPU it runs on sends
/// to itself.
pub trait OwnSgis {
    /// Turns `sgi` on, at its priority; wake and panic are on already.
    fn turn_on(&self, sgi: Sgi);

    /// Turns all private interrupts but wake and panic off, and takes back what
    /// is pending.
    fn quieten(&self);

    /// Writes the priority mask; the write has taken effect on return.
    fn set_priority_mask(&self, mask: u8);

    /// Sends `sgi` to this CPU.
    fn send(&self, sgi: Sgi);

    /// Acknowledges the most urgent interrupt that the mask lets through, if there is
    /// one, and ends it.
    fn take(&self) -> Option<Irq>;

    /// Calls `done` until it returns true or `limit` has passed; returns whether it
    /// did.
    fn poll(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool;
}

/// Does what [`check_priorities`](crate::platform::IrqChip::check_priorities)
/// promises, with the SGIs for wake and reschedule.
///
/// With the mask closed the ordinary one is sent, then the urgent one. That one comes
/// first; when it has ended the next acknowledge finds nothing; and the ordinary one
/// comes as soon as the mask is open, which shows that it was there. What is
/// pending is never read: that is zero in some GICs.
///
/// # Context
/// Boot CPU, IRQs masked, before [`startup_cpu`](crate::platform::IrqChip::startup_cpu)
/// and before any PPI or SPI is on, so that nothing else can come.
///
/// # Errors
/// [`IrqChipError::PrioritiesUnusable`].
pub fn check_priorities(chip: &impl OwnSgis) -> Result<(), IrqChipError> {
    chip.turn_on(Sgi::Reschedule);
    chip.set_priority_mask(PMR_CLOSED);
    chip.send(Sgi::Reschedule);
    chip.send(Sgi::Wake);
    let urgent = next(chip, LIMIT);
    // Nothing is active now, so it is the mask alone that holds the ordinary one back.
    // Some time is given to a GIC that has to bring it forth first.
    let held_back = next(chip, IN_VAIN);
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

/// Takes the next interrupt, if one comes within `limit`.
fn next(chip: &impl OwnSgis, limit: Duration) -> Option<Irq> {
    let mut came = None;
    chip.poll(limit, &mut || {
        came = chip.take();
        came.is_some()
    });
    came
}
