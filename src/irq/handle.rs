//! The handle of a user of a line.

#![forbid(unsafe_code)]

use core::fmt;

use super::IrqHost;
use super::line::Line;
use crate::cpu::{CpuId, CpuMask};
use crate::irq::IrqAffinityError;
use crate::platform::Irq;
use crate::sync::might_sleep_in;

/// A user's right to a line. Dropping it gives the line back: on return its handler isn't running
/// and has been dropped.
///
/// # Context
/// The drop: thread, preemption on.
pub struct IrqHandle<P: IrqHost> {
    line: &'static Line<P>,
    user: u64,
    is_shared: bool,
}

impl<P: IrqHost> IrqHandle<P> {
    pub(super) fn new(line: &'static Line<P>, user: u64, is_shared: bool) -> Self {
        IrqHandle {
            line,
            user,
            is_shared,
        }
    }

    /// Returns the line.
    pub fn line(&self) -> &'static Line<P> {
        self.line
    }

    /// Returns which interrupt it is.
    pub fn irq(&self) -> Irq {
        self.line.irq()
    }

    /// Disables the line, for all its users, until [`IrqHandle::enable`] was called as often. On
    /// return no handler of the line runs.
    ///
    /// # Context
    /// Thread, preemption on. It must not hold what a handler waits for.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn disable(&self) {
        might_sleep_in::<P>("irq::disable");
        self.disable_nosync();
        self.line.synchronize_all();
    }

    /// As [`IrqHandle::disable`], but a handler may still run.
    ///
    /// # Context
    /// Any, the handler itself included.
    pub fn disable_nosync(&self) {
        self.line.disable(self.user);
    }

    /// Takes one [`IrqHandle::disable`] of this handle back. What the device has signalled
    /// meanwhile comes then. Does nothing but to log a warning if there is none.
    ///
    /// # Context
    /// Any.
    pub fn enable(&self) {
        if !self.line.enable(self.user) {
            log::warn!("unbalanced enable of {:?}", self.irq());
        }
    }

    /// Waits until no handler of the line runs that has begun before.
    ///
    /// # Context
    /// As [`IrqHandle::disable`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn synchronize(&self) {
        might_sleep_in::<P>("irq::synchronize");
        self.line.synchronize_all();
    }

    /// Lets the line go only to `cpus` from now on.
    ///
    /// # Context
    /// Any.
    ///
    /// # Errors
    /// [`IrqAffinityError`]; nothing has changed then.
    pub fn set_affinity(&self, cpus: &CpuMask) -> Result<(), IrqAffinityError> {
        self.line.set_affinity(cpus)
    }

    /// Returns the CPUs that the line may go to.
    pub fn affinity(&self) -> CpuMask {
        self.line.affinity()
    }

    /// Returns the CPU that the line goes to; `None` while it rests.
    pub fn effective_affinity(&self) -> Option<CpuId> {
        self.line.effective_affinity()
    }
}

impl<P: IrqHost> Drop for IrqHandle<P> {
    #[cfg_attr(debug_assertions, track_caller)]
    fn drop(&mut self) {
        might_sleep_in::<P>("the drop of an Irq");
        if self.is_shared {
            P::irqs().free_shared(self.line, self.user);
        } else {
            self.line.free(self.user);
        }
    }
}

impl<P: IrqHost> fmt::Debug for IrqHandle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IrqHandle").field(&self.irq()).finish()
    }
}
