//! The contract between the pure kernel and the machine under it.
//!
//! [`Platform`] is a trait of associated functions without `self`: it costs
//! nothing on the target, where the one `Hw` implements it from the drivers, and
//! a host test implements it with state per thread. The driver traits
//! ([`IrqChip`], [`CpuOps`], [`Console`]) are what `drivers` and `arch` hand to
//! `kernel`, chosen at boot from the device tree.

mod console;
mod irq;
mod power;
mod thread_name;

use core::fmt;
use core::time::Duration;

use crate::cpu::{CpuId, CpuMask, CpuMasks};
use crate::sync::{IrqGuard, PreemptGuard, Wait};
use crate::time::{Frequency, Instant};

pub use console::{Console, Received};
pub use irq::{Irq, IrqChip, IrqChipError, IrqToken, OUR_SGI_COUNT, SGI_COUNT, Sgi, Trigger};
pub use power::{Conduit, CpuOps, PowerState, PsciError};
pub use thread_name::ThreadName;

/// What a CPU may have to do at a preemption point, or at the end of a switch. The
/// discriminant is a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PreemptWork {
    /// The running thread is to lose the CPU.
    Reschedule = 1,
    /// A grace period waits for the quiescent state.
    GracePeriod = 2,
    /// The thread that was switched away from is to be looked after: by the next
    /// one, before it does anything else.
    Previous = 4,
}

/// No stack is left for a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfStacks;

impl fmt::Display for OutOfStacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no stack is left in the pool")
    }
}

impl<P: Platform> PreemptGuard<P> {
    /// Returns the CPU that this runs on, for as long as the guard lives.
    pub fn cpu(&self) -> CpuId {
        P::this_cpu()
    }
}

impl<P: Platform> IrqGuard<P> {
    /// Returns the CPU that this runs on, for as long as the guard lives.
    pub fn cpu(&self) -> CpuId {
        P::this_cpu()
    }
}

/// What threads and hotplug need from the machine beyond [`Wait`].
pub trait Platform: Wait + Sized + Send + Sync {
    /// A thread's stack and its registers while it doesn't run. Opaque here.
    type Context: Send + Sync;

    /// A new thread's context: its first switch enters `entry(arg)` with IRQs
    /// masked, on a stack of its own, with a preempt count of 0. `arg` is also what
    /// [`Platform::thread_word`] returns to it.
    ///
    /// # Errors
    /// [`OutOfStacks`] if the pool is empty.
    fn new_context(
        name: &ThreadName,
        entry: extern "C" fn(usize) -> !,
        arg: usize,
    ) -> Result<Self::Context, OutOfStacks>;

    /// Gives back the stack of the thread whose context this is, which will never run
    /// again. What is left of the context may live on.
    ///
    /// # Context
    /// Any, IRQs masked.
    ///
    /// # Safety
    /// No CPU runs on that stack, and none will.
    unsafe fn release_stack(context: &Self::Context);

    /// Saves the running thread in `from` and goes on with `to`. Returns when
    /// a CPU switches back to `from`.
    ///
    /// # Context
    /// IRQs masked.
    ///
    /// # Safety
    /// `from` is the context of the thread that runs here; `to` is that of a
    /// thread of this CPU which runs nowhere; both stay where they are.
    unsafe fn switch(from: &Self::Context, to: &Self::Context);

    /// Returns the word that the running thread was made with, or that it has set; 0
    /// before that. It goes with the thread, whatever CPU it is on.
    fn thread_word() -> usize;

    /// Sets the running thread's word: for an idle thread, which was not spawned.
    ///
    /// # Safety
    /// It is what [`Platform::new_context`] would have been given for that thread.
    unsafe fn set_thread_word(word: usize);

    /// Returns the CPU that this runs on. Stable only with preemption or IRQs off.
    fn this_cpu() -> CpuId;

    /// Returns the counter, now. Ordered after what comes before it.
    fn now() -> Instant;

    /// Returns the counter's frequency.
    fn frequency() -> Frequency;

    /// Returns the moment `time` from now.
    fn deadline(time: Duration) -> Instant {
        Self::now().after_ticks(Self::frequency().duration_to_ticks(time))
    }

    /// Arms this CPU's one-shot timer for `at`, or turns it off with `None`.
    ///
    /// # Context
    /// IRQs masked.
    fn arm_timer(at: Option<Instant>);

    /// Has this CPU's timer interrupt at `at` at the latest. One that comes when nothing is
    /// due does no harm: its handler arms the timer anew.
    ///
    /// # Context
    /// IRQs masked.
    fn arm_timer_by(at: Instant);

    /// Sends `sgi` to `targets` (see [`IrqChip::send_sgi`]).
    fn send_sgi(sgi: Sgi, targets: &CpuMask);

    /// Sends `sgi` from this CPU, which is `me`, to `target` alone (see
    /// [`IrqChip::send_sgi_to`]).
    fn send_sgi_to(sgi: Sgi, me: CpuId, target: CpuId);

    /// Says whether this CPU has `work` to do at its next preemption point: what
    /// makes [`crate::sync::LocalCpu::preempt_point`] more than a load and a test.
    ///
    /// # Context
    /// IRQs masked.
    fn set_preempt_work(work: PreemptWork, pending: bool);

    /// Returns whether [`Platform::set_preempt_work`] said so last, on this CPU.
    fn has_preempt_work(work: PreemptWork) -> bool;

    /// Returns which CPUs there are, and how far each has come.
    fn masks() -> &'static CpuMasks;

    /// Opens this CPU's priority mask, or closes it to all but wake, panic and the timer.
    fn set_priority_mask_closed(closed: bool);
}
