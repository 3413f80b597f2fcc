//! Interrupts of devices, with Linux's words: a driver requests the line of its device and names
//! the function that serves it.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/irq.rs")]
//! ```
//! An interrupt goes to one CPU at a time, one that its *affinity* allows. When that CPU goes
//! offline it moves to another one, pending or not, and isn't lost.

use core::fmt;

use crate::cpu::{CpuId, CpuMask};
use crate::irq;
use crate::kernel::Hw;
use crate::kernel::entry::{Entered, enter};
use crate::kernel::irqs::{self, IrqBuilder};
use crate::sched::run_app;
use crate::sync::might_sleep_in;

pub use crate::irq::{IrqAffinityError, IrqReturn, RequestIrqError};
pub use crate::platform::{IrqLine, Trigger};

/// An interrupt that a program has requested. Dropping it gives the line back: on return its
/// handler isn't running, and it and all that it owns have been dropped.
///
/// The drop waits as [`Irq::disable`] does, and panics where that does.
pub struct Irq(Entered<irq::IrqHandle<Hw>>);

/// The properties of an interrupt that is to be requested.
pub struct Builder(IrqBuilder);

impl Builder {
    /// Returns the properties of an interrupt that `/proc/interrupts` calls `name`. It may go to
    /// any CPU, is enabled when it was requested, and its line has no other user.
    ///
    /// # Context
    /// Any; allocates.
    pub fn new(name: impl fmt::Display) -> Builder {
        Builder(IrqBuilder::new(name))
    }

    /// Sets the CPUs that the interrupt may go to. When the last of them goes offline it may go to
    /// any CPU from then on, and the log says so (as in Linux).
    ///
    /// # Context
    /// Any.
    #[must_use]
    pub fn affinity(self, cpus: CpuMask) -> Builder {
        Builder(self.0.affinity(cpus))
    }

    /// Sets the CPUs that the interrupt may go to, for as long as it is requested: for one of
    /// several interrupts of a device, each for its own CPUs. When the last of them goes offline
    /// the interrupt rests, and it comes back with the first. What the device signals meanwhile
    /// comes then.
    ///
    /// # Context
    /// Any.
    #[must_use]
    pub fn managed(self, cpus: CpuMask) -> Builder {
        Builder(self.0.managed(cpus))
    }

    /// Lets others have the same line, too, if all of them say so. Each handler is called for each
    /// interrupt, and returns [`IrqReturn::None`] if its own device hasn't raised it.
    ///
    /// # Context
    /// Any.
    #[must_use]
    pub fn shared(self) -> Builder {
        Builder(self.0.shared())
    }

    /// Has a thread of its own run `thread_fn` each time that the handler returns
    /// [`IrqReturn::WakeThread`]: what is long, or may wait. A level-triggered line stays masked
    /// until `thread_fn` has returned. If an edge comes meanwhile, and the handler returns that
    /// again, the thread runs it once more.
    ///
    /// The thread is of the class FIFO, of priority 50, as Linux's are. It may run on the CPUs that
    /// the interrupt may go to, and moves when they go. It ends when the [`Irq`] is dropped.
    ///
    /// # Context
    /// Any; allocates.
    #[must_use]
    pub fn threaded(self, mut thread_fn: impl FnMut() + Send + 'static) -> Builder {
        let thread_fn = move || run_app::<Hw, _>(&mut thread_fn);
        Builder(self.0.threaded(thread_fn))
    }

    /// Leaves the interrupt disabled until [`Irq::enable`].
    ///
    /// # Context
    /// Any.
    #[must_use]
    pub fn no_autoenable(self) -> Builder {
        Builder(self.0.no_autoenable())
    }

    /// Requests `line`. `handle_fn` is called for each interrupt, in an interrupt handler with IRQs
    /// masked, and on one CPU at a time: it may wake threads and set timers. It may not wait, and
    /// should not free much memory.
    ///
    /// # Context
    /// Thread, preemption on; allocates.
    ///
    /// # Errors
    /// [`RequestIrqError`]; nothing has changed then, and `handle_fn` has been dropped.
    ///
    /// # Panics
    /// The handler, if it returns [`IrqReturn::WakeThread`] without [`Builder::threaded`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn request(
        self,
        line: IrqLine,
        handle_fn: impl FnMut() -> IrqReturn + Send + 'static,
    ) -> Result<Irq, RequestIrqError> {
        let _in_kernel = enter();
        might_sleep_in::<Hw>("irq::request"); // Before it allocates.
        let handle = self.0.request(line, handle_fn)?;
        Ok(Irq(Entered::new(handle)))
    }
}

/// Requests `line` for the function `handle_fn`, which `/proc/interrupts` calls `name`. It is
/// enabled on return. [`Builder::request`] says what `handle_fn` may do.
///
/// # Context
/// Thread, preemption on; allocates.
///
/// # Errors
/// As [`Builder::request`].
#[cfg_attr(debug_assertions, track_caller)]
pub fn request(
    line: IrqLine,
    name: impl fmt::Display,
    handle_fn: impl FnMut() -> IrqReturn + Send + 'static,
) -> Result<Irq, RequestIrqError> {
    Builder::new(name).request(line, handle_fn)
}

impl Irq {
    /// Disables the line, for all that share it, until [`Irq::enable`] was called as often. On
    /// return no handler of the line runs, and no thread of one has anything to do.
    ///
    /// # Context
    /// Thread, preemption on. The caller must hold nothing that a handler or its thread waits for,
    /// and isn't such a thread, which would wait for itself.
    ///
    /// # Panics
    /// In any other context, as in the handler itself, whether one runs or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn disable(&self) {
        let _in_kernel = enter();
        self.0.disable();
    }

    /// As [`Irq::disable`], but a handler may still run on return.
    ///
    /// # Context
    /// Any, the handler itself included.
    pub fn disable_nosync(&self) {
        let _in_kernel = enter();
        self.0.disable_nosync();
    }

    /// Takes back one [`Irq::disable`] of this value. What its device has signalled meanwhile comes
    /// then. If there is none to take back, it does nothing but to log a warning.
    ///
    /// # Context
    /// Any.
    pub fn enable(&self) {
        let _in_kernel = enter();
        self.0.enable();
    }

    /// Waits until no handler of the line runs that had begun before the call, and no thread of one
    /// has anything to do.
    ///
    /// # Context
    /// As [`Irq::disable`].
    ///
    /// # Panics
    /// As [`Irq::disable`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn synchronize(&self) {
        let _in_kernel = enter();
        self.0.synchronize();
    }

    /// Lets the line go only to `cpus` from now on, to one of them at a time. It moves if it goes to
    /// another one, and isn't lost if it is pending. CPUs that the machine doesn't have are left out.
    ///
    /// # Context
    /// Any.
    ///
    /// # Errors
    /// [`IrqAffinityError`]; nothing has changed then.
    pub fn set_affinity(&self, cpus: &CpuMask) -> Result<(), IrqAffinityError> {
        let _in_kernel = enter();
        self.0.set_affinity(cpus)
    }

    /// Returns the CPUs that the line may go to.
    ///
    /// # Context
    /// Any.
    pub fn affinity(&self) -> CpuMask {
        let _in_kernel = enter();
        self.0.affinity()
    }

    /// Returns the CPU that the line goes to; `None` while it rests, because it is managed and
    /// none of its CPUs is online.
    ///
    /// # Context
    /// Any.
    pub fn effective_affinity(&self) -> Option<CpuId> {
        let _in_kernel = enter();
        self.0.effective_affinity()
    }

    /// Returns how often the handlers of the line have been called, on all CPUs, those that are
    /// offline included.
    ///
    /// # Context
    /// Any.
    pub fn count(&self) -> u64 {
        let _in_kernel = enter();
        self.0.line().counts().sum()
    }

    /// Returns how often the handlers of the line have been called on `cpu`.
    ///
    /// # Context
    /// Any.
    ///
    /// # Panics
    /// If the machine has no such CPU.
    pub fn count_on(&self, cpu: CpuId) -> u64 {
        let _in_kernel = enter();
        self.0.line().counts().part(cpu)
    }

    /// Returns the number of the interrupt at the GIC (INTID).
    ///
    /// # Context
    /// Any.
    pub fn intid(&self) -> u32 {
        self.0.irq().intid()
    }
}

/// An interrupt that each CPU has for itself, such as one of its performance monitor, and that a
/// program has requested. Dropping it gives it back: on return no CPU runs its handler, and that and
/// all that it owns have been dropped.
///
/// # Context
/// The drop: thread, preemption on; takes `cpus_read_lock`.
#[derive(Debug)]
pub struct PerCpuIrq(Entered<irqs::PerCpuIrq>);

/// Requests `line`, which each CPU has for itself, for the function `handle_fn`, which
/// `/proc/interrupts` calls `name`. It is turned on on each CPU that is online, and on each that
/// comes, before that runs a thread.
///
/// `handle_fn` is called on the CPU that has taken the interrupt, in an interrupt handler with IRQs
/// masked, and on several CPUs at once. [`IrqReturn::WakeThread`] has no thread here.
///
/// # Context
/// Thread, preemption on; takes `cpus_read_lock`. Allocates.
///
/// # Errors
/// [`RequestIrqError`]; nothing has changed then, and `handle_fn` has been dropped.
#[cfg_attr(debug_assertions, track_caller)]
pub fn request_percpu(
    line: IrqLine,
    name: impl fmt::Display,
    handle_fn: impl Fn() -> IrqReturn + Send + Sync + 'static,
) -> Result<PerCpuIrq, RequestIrqError> {
    let _in_kernel = enter();
    might_sleep_in::<Hw>("irq::request"); // Before it allocates.
    let own = irqs::PerCpuIrq::request(line, name, handle_fn)?;
    Ok(PerCpuIrq(Entered::new(own)))
}

impl PerCpuIrq {
    /// Returns how often the handler was called, on all CPUs, those that are offline included.
    ///
    /// # Context
    /// Any.
    pub fn count(&self) -> u64 {
        let _in_kernel = enter();
        self.0.handle().counts().sum()
    }

    /// Returns how often the handler was called on `cpu`.
    ///
    /// # Context
    /// Any.
    ///
    /// # Panics
    /// If the machine has no such CPU.
    pub fn count_on(&self, cpu: CpuId) -> u64 {
        let _in_kernel = enter();
        self.0.handle().counts().part(cpu)
    }

    /// Returns the number of the interrupt at the GIC (INTID).
    ///
    /// # Context
    /// Any.
    pub fn intid(&self) -> u32 {
        self.0.handle().intid()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

impl fmt::Debug for Irq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Irq").field(&self.intid()).finish()
    }
}
