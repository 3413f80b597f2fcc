//! What `sync` needs from the machine, as small traits, and the two guards.
//!
//! A guard is a token: code that needs "IRQs are off" or "preemption is off"
//! takes a reference to one, and cannot be called without the fact.

use core::marker::PhantomData;
#[cfg(not(loom))]
use core::num::NonZeroUsize;

use crate::config::MASK_WORDS;
#[cfg(all(debug_assertions, not(loom)))]
use crate::sync::lockdep::{Manner, Place};

/// The interrupt mask of a CPU as it was before [`LocalCpu::irq_save`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqFlags(pub u64);

/// The running CPU, as far as a lock needs to know it.
///
/// Implemented by the target's `Hw` and by the fakes of host tests.
pub trait LocalCpu: 'static {
    /// Masks IRQ, FIQ and SError on this CPU and returns the mask as it was.
    /// A compiler barrier.
    fn irq_save() -> IrqFlags;

    /// Puts back the mask that [`LocalCpu::irq_save`] returned. A compiler barrier.
    ///
    /// # Safety
    /// `flags` are what that returned on this CPU, and no guard that was made since
    /// says that IRQs are masked.
    unsafe fn irq_restore(flags: IrqFlags);

    /// Lets this CPU take interrupts, whatever it did before: for the first
    /// steps of a thread, and for idle. A compiler barrier.
    ///
    /// # Safety
    /// The vectors are in place, and no guard of this CPU says that IRQs are masked.
    unsafe fn irq_enable();

    /// Whether this CPU takes IRQs now.
    fn irqs_enabled() -> bool;

    /// Adds one to the preempt count of the running thread.
    fn preempt_disable();

    /// Takes one off the preempt count. Does *not* look for work: see
    /// [`LocalCpu::preempt_point`].
    ///
    /// # Safety
    /// It takes back an [`LocalCpu::preempt_disable`] of this thread for which no guard
    /// stands any more.
    unsafe fn preempt_enable_no_resched();

    /// The preempt count of the running thread.
    fn preempt_count() -> u32;

    /// A preemption point: with the count at 0 and IRQs on, a stopper that is
    /// runnable takes the CPU here, and a quiescent state that somebody waits
    /// for is reported. Elsewhere it does nothing.
    fn preempt_point();

    /// Tells the core (and whoever emulates it) that this loop is waiting:
    /// `YIELD`, never `ISB`, never nothing.
    fn relax();

    /// A number that is this CPU's for ever and no other's, and costs little to read: by it
    /// a spin lock knows its holder. True until preemption comes on.
    #[cfg(not(loom))]
    fn cpu_mark() -> NonZeroUsize;

    /// Called now and then by a CPU that turns at a spin lock of a `lock`, which the CPU of
    /// mark `holder` has: has the log say so once that has taken long. `late_at` is the
    /// caller's, for one wait; `None` at first.
    ///
    /// # Context
    /// Any: the lock may be the console's.
    #[cfg(not(loom))]
    fn spins_long(_late_at: &mut Option<u64>, _holder: NonZeroUsize, _lock: &str) {}

    /// For the validator: the lock of `lock` is about to be taken at `at`, or was taken
    /// by a try. See [`crate::sync::lockdep`].
    #[cfg(all(debug_assertions, not(loom)))]
    fn lock_acquire(_lock: &crate::sync::LockKey, _manner: Manner, _at: Place) {}

    /// For the validator: the lock of `lock` is about to be opened.
    #[cfg(all(debug_assertions, not(loom)))]
    fn lock_release(_lock: &crate::sync::LockKey) {}

    /// For the validator: the caller at `at` may have to wait.
    #[cfg(all(debug_assertions, not(loom)))]
    fn might_sleep(_at: Place) {}
}

/// Checks that the running thread may give its CPU away, in every build and whether it
/// will have to or not: one that seldom must would be wrong unseen.
///
/// # Panics
/// With preemption off: the thread would take the guard's promise with it. With IRQs
/// masked, as in a still point: who runs next would unmask them.
#[inline]
pub fn assert_may_schedule<E: LocalCpu>() {
    let count = E::preempt_count();
    assert!(
        count == 0,
        "BUG: schedule with preemption off (count {count})"
    );
    assert!(E::irqs_enabled(), "BUG: schedule with IRQs masked");
}

/// What has ended a sleep, as far as [`Wait::take_wake`] could take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// A wake SGI, or what could not be taken.
    Other,
    /// This CPU's timer, which is off now: the code that opens the priority mask arms it anew.
    Timer,
}

/// What a `WaitPoint` needs: sleep until a wake SGI, send one.
pub trait Wait: LocalCpu {
    /// Sleeps until an interrupt is pending that the priority mask lets through:
    /// `DSB`; `WFI`. It isn't taken. May return early.
    ///
    /// Context: IRQs masked.
    fn sleep();

    /// Takes the pending interrupt, if it is a wake or panic SGI or the timer's:
    /// acknowledge and end it; `DSB SY`; `ISB`. Turns the timer off before that, and goes
    /// to the panic handler after it, if it was the one or the other.
    ///
    /// Context: IRQs masked, priority mask closed to all but what is urgent.
    fn take_wake() -> Woken;

    /// Takes what is pending by now, in its handlers, before it returns: `ISB`. What
    /// unmasks IRQs promises no such thing. They are taken in finite time as long as
    /// they stay unmasked; those that are pending at a context synchronization event
    /// are taken before the next instruction (Arm ARM, "Context synchronization
    /// event"). A loop that masks them again at once, because it waits for what a
    /// handler does, needs one in between, or it may turn for ever.
    ///
    /// # Context
    /// IRQs on.
    fn serve_interrupts();

    /// Sends the wake SGI to each CPU in `cpus`: `DSB ISHST`, SGI, `ISB`.
    fn send_wake(cpus: &[u64; MASK_WORDS]);
}

/// A guard that keeps its thread where it is: while one lives, "this CPU" means one
/// CPU.
pub trait PinnedCpu<E: LocalCpu> {}

impl<E: LocalCpu> PinnedCpu<E> for IrqGuard<E> {}
impl<E: LocalCpu> PinnedCpu<E> for PreemptGuard<E> {}

/// IRQs are masked on this CPU while this exists. Those of one CPU end in the reverse of
/// the order in which they began; a debug build panics with `BUG:` if not.
///
/// Not `Send`: it speaks of the CPU that made it.
#[must_use]
#[derive(Debug)]
pub struct IrqGuard<E: LocalCpu> {
    flags: IrqFlags,
    _not_send: PhantomData<(*const (), E)>,
}

impl<E: LocalCpu> IrqGuard<E> {
    /// Masks IRQs until the guard is dropped.
    pub fn new() -> Self {
        IrqGuard {
            flags: E::irq_save(),
            _not_send: PhantomData,
        }
    }

    /// Ends the guard without a preemption point: for who looks for work by himself.
    #[inline]
    pub(crate) fn end_no_resched(self) {
        self.restore();
        core::mem::forget(self);
    }

    #[inline]
    fn restore(&self) {
        debug_assert!(
            !E::irqs_enabled(),
            "BUG: IRQs were unmasked while a guard stood for their mask"
        );
        // SAFETY: the flags are this guard's, and it ends here. Younger ones have ended:
        // that is the rule for who makes guards, which a debug build checks above.
        unsafe { E::irq_restore(self.flags) };
    }
}

impl<E: LocalCpu> Default for IrqGuard<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: LocalCpu> Drop for IrqGuard<E> {
    fn drop(&mut self) {
        self.restore();
        E::preempt_point();
    }
}

/// Preemption is off on this CPU while this exists: the thread stays where it
/// is, no stopper gets in, and no still point can begin.
///
/// Not `Send`: it speaks of the thread that made it.
#[must_use]
#[derive(Debug)]
pub struct PreemptGuard<E: LocalCpu> {
    _not_send: PhantomData<(*const (), E)>,
}

impl<E: LocalCpu> PreemptGuard<E> {
    /// Turns preemption off until the guard is dropped.
    pub fn new() -> Self {
        E::preempt_disable();
        PreemptGuard {
            _not_send: PhantomData,
        }
    }
}

impl<E: LocalCpu> Default for PreemptGuard<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: LocalCpu> Drop for PreemptGuard<E> {
    fn drop(&mut self) {
        // SAFETY: `new` turned it off for this guard, which ends here.
        unsafe { E::preempt_enable_no_resched() };
        E::preempt_point();
    }
}
