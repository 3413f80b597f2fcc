//! The contract between the pure kernel and the machine under it.
//!
//! [`Platform`] is a trait of associated functions without `self`. On the target, where only
//! `Hw` implements it, it costs nothing; a host test implements it with state per thread.
//! `drivers` and `arch` implement the driver traits ([`IrqChip`], [`CpuOps`], [`Console`]);
//! `boot` chooses the drivers by the device tree.

mod console;
mod irq;
mod irq_line;
mod power;
mod thread_name;

use core::fmt;
use core::time::Duration;

use crate::cpu::{CpuId, CpuMask, CpuMasks};
use crate::sync::{IrqGuard, PreemptGuard, Wait};
use crate::time::{Frequency, Instant};

pub use console::{Console, Received};
pub use irq::{
    END_OF_SPIS, FIRST_LPI, FIRST_PPI, FIRST_SPI, Irq, IrqChip, IrqChipError, IrqToken,
    OUR_SGI_COUNT, SGI_COUNT, Sgi, Trigger,
};
pub use irq_line::{IrqLine, LineChip};
pub use power::{Conduit, CpuOps, PowerState, PsciError, PsciQuery};
pub use thread_name::ThreadName;

/// Work that a CPU may have to do at a preemption point, or at the end of a switch. The
/// discriminant is a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PreemptWork {
    /// Switch to another thread.
    Reschedule = 1,
    /// Report a quiescent state, for which a grace period waits.
    GracePeriod = 2,
    /// Finish the switch away from the previous thread. The next thread does that before
    /// anything else.
    Previous = 4,
    /// Look at the run queue when the running thread returns from the kernel to the code of
    /// its application: the CPU flushes, and such a thread doesn't keep it.
    Flush = 8,
    /// Nothing: the CPU runs the function of a still point, in which no code may allocate.
    /// Whatever allocates has a preemption point behind it, and finds this there.
    Still = 16,
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

    /// Returns the context of a new thread. The first switch to it calls `entry(arg)` with IRQs
    /// masked, on a stack of its own, with a preempt count of 0. [`Platform::thread_word`]
    /// returns `arg` in the new thread.
    ///
    /// # Errors
    /// [`OutOfStacks`] if the pool is empty.
    fn new_context(
        name: &ThreadName,
        entry: extern "C" fn(usize) -> !,
        arg: usize,
    ) -> Result<Self::Context, OutOfStacks>;

    /// Gives the stack of the thread of `context` back to the pool. The thread has ended; the
    /// rest of its context may live on.
    ///
    /// # Context
    /// Any, IRQs masked.
    ///
    /// # Safety
    /// No CPU runs on that stack, and none will.
    unsafe fn release_stack(context: &Self::Context);

    /// Saves the running thread's registers in `from` and continues with the thread of `to`.
    /// Returns when a CPU switches back to `from`.
    ///
    /// # Context
    /// IRQs masked.
    ///
    /// # Safety
    /// `from` is the context of the thread that runs here. `to` is the context of a thread of
    /// this CPU that runs nowhere. Both stay where they are.
    unsafe fn switch(from: &Self::Context, to: &Self::Context);

    /// Returns the running thread's word: the argument of [`Platform::new_context`], or, for an
    /// idle thread, 0 until [`Platform::set_thread_word`] has set it. A thread keeps its word
    /// when it moves to another CPU.
    fn thread_word() -> usize;

    /// Sets the running thread's word: for an idle thread, which was not spawned.
    ///
    /// # Safety
    /// `word` is what [`Platform::new_context`] would have been given for that thread.
    unsafe fn set_thread_word(word: usize);

    /// Returns the CPU that this runs on. The thread may move to another CPU at any time,
    /// unless preemption or IRQs are off.
    fn this_cpu() -> CpuId;

    /// Returns the counter's value. It is read after all earlier instructions.
    fn now() -> Instant;

    /// Returns the counter's frequency.
    fn frequency() -> Frequency;

    /// Returns the instant that is `time` from now.
    fn deadline(time: Duration) -> Instant {
        Self::now().after_ticks(Self::frequency().duration_to_ticks(time))
    }

    /// Arms this CPU's one-shot timer for `at`, or turns it off with `None`.
    ///
    /// # Context
    /// IRQs masked.
    fn arm_timer(at: Option<Instant>);

    /// Arms this CPU's timer so that its interrupt comes at `at` at the latest. An interrupt
    /// that comes when nothing is due does no harm: its handler arms the timer anew.
    ///
    /// # Context
    /// IRQs masked.
    fn arm_timer_by(at: Instant);

    /// Sends `sgi` to `targets` (see [`IrqChip::send_sgi`]).
    fn send_sgi(sgi: Sgi, targets: &CpuMask);

    /// Sends `sgi` from this CPU, which is `me`, only to `target` (see
    /// [`IrqChip::send_sgi_to`]).
    fn send_sgi_to(sgi: Sgi, me: CpuId, target: CpuId);

    /// Handles the SGIs that other CPUs have posted to this one instead of sending them, a bit of
    /// `posted` for each number: see [`Posted`](crate::sync::Posted).
    ///
    /// # Context
    /// The idle thread, IRQs masked since it has found them.
    fn handle_posted(_posted: u32) {}

    /// Sets whether this CPU has `work` to do at its next preemption point. While it has none,
    /// [`crate::sync::LocalCpu::preempt_point`] is only a load and a test.
    ///
    /// # Context
    /// IRQs masked.
    fn set_preempt_work(work: PreemptWork, pending: bool);

    /// Returns whether this CPU has `work` to do, as [`Platform::set_preempt_work`] last set
    /// it.
    fn has_preempt_work(work: PreemptWork) -> bool;

    /// Returns the masks of the possible, online and active CPUs.
    fn masks() -> &'static CpuMasks;

    /// Opens this CPU's priority mask, or closes it to all but wake, panic and the timer.
    fn set_priority_mask_closed(closed: bool);
}
