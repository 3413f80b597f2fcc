//! `Hw` for interrupts of devices, and what drivers of this crate call.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use crate::cpu::CpuMask;
use crate::irq::{
    HandlerFn, IrqHandle, IrqHost, IrqRequest, IrqReturn, IrqTable, Owner, PerCpuIrqHandle,
    RequestIrqError, ThreadFn,
};
use crate::kernel::{Hw, TIMER_NAME, kernel};
use crate::platform::{IrqLine, LineChip};
use crate::sync::might_sleep_in;

impl IrqHost for Hw {
    #[inline]
    fn irqs() -> &'static IrqTable<Hw> {
        &kernel().irqs
    }

    #[inline]
    fn line_chip() -> &'static dyn LineChip {
        &*kernel().irq_chip
    }
}

/// Has `handle_fn` serve `line`, which is enabled on return: see [`IrqBuilder`].
///
/// # Context
/// Thread, preemption on, or the boot. Allocates.
///
/// # Errors
/// [`RequestIrqError`]; nothing has changed then.
pub(crate) fn request_irq(
    line: IrqLine,
    name: impl fmt::Display,
    handle_fn: impl FnMut() -> IrqReturn + Send + 'static,
) -> Result<IrqHandle<Hw>, RequestIrqError> {
    IrqBuilder::new(name).request(line, handle_fn)
}

/// A user's right to an interrupt that each CPU has for itself. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct PerCpuIrq(Option<PerCpuIrqHandle<Hw>>);

impl PerCpuIrq {
    /// Has `handle_fn` serve `line` on each CPU that is online, and on each that comes.
    ///
    /// # Context
    /// Thread, preemption on; takes `cpus_read_lock`. Allocates.
    ///
    /// # Errors
    /// [`RequestIrqError`]; nothing has changed then.
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn request(
        line: IrqLine,
        name: impl fmt::Display,
        handle_fn: impl Fn() -> IrqReturn + Send + Sync + 'static,
    ) -> Result<PerCpuIrq, RequestIrqError> {
        let kernel = kernel();
        if line.intid() == kernel.timer_ppi {
            return Err(RequestIrqError::Busy(line.intid(), TIMER_NAME.into()));
        }
        let name = alloc::format!("{name}");
        let _alone = kernel.hotplug.cpus_read_lock();
        let handle = kernel
            .irqs
            .percpu
            .request(line, &name, Arc::new(handle_fn))?;
        Ok(PerCpuIrq(Some(handle)))
    }

    /// Returns the interrupt.
    pub(crate) fn handle(&self) -> &PerCpuIrqHandle<Hw> {
        self.0.as_ref().expect("BUG: it is empty in its drop only")
    }
}

impl Drop for PerCpuIrq {
    #[cfg_attr(debug_assertions, track_caller)]
    fn drop(&mut self) {
        might_sleep_in::<Hw>("the drop of a PerCpuIrq");
        if let Some(handle) = self.0.take() {
            let _alone = kernel().hotplug.cpus_read_lock();
            handle.free();
        }
    }
}

/// What a user wants of a line.
pub(crate) struct IrqBuilder {
    name: String,
    affinity: Option<CpuMask>,
    owner: Owner,
    is_shared: bool,
    starts_disabled: bool,
    thread_fn: Option<ThreadFn>,
}

impl IrqBuilder {
    /// Returns the wishes of a user that `/proc/interrupts` calls `name`: the line goes to any CPU,
    /// is its own, and is enabled.
    pub(crate) fn new(name: impl fmt::Display) -> IrqBuilder {
        IrqBuilder {
            name: alloc::format!("{name}"),
            affinity: None,
            owner: Owner::User,
            is_shared: false,
            starts_disabled: false,
            thread_fn: None,
        }
    }

    /// Lets the line go only to `cpus`, until its affinity is set or broken.
    pub(crate) fn affinity(mut self, cpus: CpuMask) -> IrqBuilder {
        self.affinity = Some(cpus);
        self.owner = Owner::User;
        self
    }

    /// Makes the line managed for `cpus`.
    pub(crate) fn managed(mut self, cpus: CpuMask) -> IrqBuilder {
        self.affinity = Some(cpus);
        self.owner = Owner::Managed;
        self
    }

    /// Lets other users have the line, too, if they also say this.
    pub(crate) fn shared(mut self) -> IrqBuilder {
        self.is_shared = true;
        self
    }

    /// Has a thread run `thread_fn` each time that the handler returns
    /// [`IrqReturn::WakeThread`]. Meanwhile a level-triggered line stays masked.
    pub(crate) fn threaded(mut self, thread_fn: impl FnMut() + Send + 'static) -> IrqBuilder {
        self.thread_fn = Some(Box::new(thread_fn));
        self
    }

    /// Leaves the line disabled.
    pub(crate) fn no_autoenable(mut self) -> IrqBuilder {
        self.starts_disabled = true;
        self
    }

    /// Has `handle_fn` serve `line`.
    ///
    /// # Context
    /// Thread, preemption on; the boot, if it isn't shared. Allocates.
    ///
    /// # Errors
    /// [`RequestIrqError`]; nothing has changed then.
    pub(crate) fn request(
        self,
        line: IrqLine,
        handle_fn: impl FnMut() -> IrqReturn + Send + 'static,
    ) -> Result<IrqHandle<Hw>, RequestIrqError> {
        let kernel = kernel();
        let request = IrqRequest {
            line,
            name: self.name,
            affinity: self.affinity.unwrap_or(*kernel.masks.possible()),
            owner: self.owner,
            is_shared: self.is_shared,
            starts_disabled: self.starts_disabled,
        };
        let handle_fn: HandlerFn = Box::new(handle_fn);
        kernel.irqs.request(&request, handle_fn, self.thread_fn)
    }
}
