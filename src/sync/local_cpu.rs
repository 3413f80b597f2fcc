//! What `sync` needs of the machine, as small traits, and the two guards.
//!
//! A guard is a token: code that needs "IRQs are off" or "preemption is off"
//! takes a reference to one, and cannot be called without the fact.

use core::marker::PhantomData;
#[cfg(not(loom))]
use core::num::NonZeroUsize;

use crate::config::MASK_WORDS;
use crate::sync::atomic::{AtomicUsize, Ordering};
#[cfg(all(debug_assertions, not(loom)))]
use crate::sync::lockdep::{Manner, Place};
use crate::sync::{SleepCost, SpinBudget};

/// The interrupt mask of a CPU as it was before [`LocalCpu::irq_save`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqFlags(pub u64);

/// What a CPU that spins for a lock keeps between two calls of [`LocalCpu::spins_long`].
#[derive(Clone, Copy, Debug)]
pub struct SpinLooks {
    /// When it looks at the clock next, in ticks.
    pub next: u64,
    /// How many looks there are until the wait is long. What lies between two of them counts no more
    /// if the machine was not run meanwhile.
    pub left: u32,
}

/// The running CPU, as far as a lock uses it.
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

    /// Unmasks IRQs on this CPU whatever the mask was: for the start of a thread, and for
    /// the idle thread. A compiler barrier.
    ///
    /// # Safety
    /// The vectors are in place, and no guard of this CPU says that IRQs are masked.
    unsafe fn irq_enable();

    /// Returns whether this CPU takes IRQs now.
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

    /// Returns the preempt count of the running thread.
    fn preempt_count() -> u32;

    /// A preemption point: with the count at 0 and IRQs on, a stopper that is
    /// runnable takes the CPU here, and a quiescent state that a grace period waits
    /// for is reported. Elsewhere it does nothing.
    fn preempt_point();

    /// Tells the core, or its emulator, that this loop is waiting: `YIELD`, never `ISB`,
    /// never nothing.
    fn relax();

    /// Loads `word`, and watches it from that moment on: the next store to it by another CPU is an
    /// event. `LDXR`, which sets the exclusive monitor. It orders nothing. A CPU watches one word
    /// at a time.
    fn load_watched(word: &AtomicUsize) -> usize {
        word.load(Ordering::Relaxed)
    }

    /// Sleeps until there has been an event since the last such sleep: `WFE`. May return early,
    /// and does so after 100 us at the latest from the step on that sets this CPU's timer up.
    fn sleep_until_event() {
        Self::relax();
    }

    /// Returns how long waits for a spin lock spin before they sleep; `None` on a machine of a
    /// test, whose waits learn nothing.
    fn lock_spins() -> Option<&'static SpinBudget> {
        None
    }

    /// Returns the time of the counter that all CPUs share, in ticks. It is what a wait learns
    /// from: see [`LocalCpu::sleep_cost`].
    fn ticks() -> u64 {
        0
    }

    /// Returns what a sleep costs on this machine; `None` on a machine of a test, whose waits
    /// learn nothing.
    fn sleep_cost() -> Option<&'static SleepCost> {
        None
    }

    /// Returns a number that belongs to this CPU for ever and to no other, and is cheap to
    /// read: the mark by which a spin lock knows its holder. It is this CPU's as long as
    /// preemption stays off.
    #[cfg(not(loom))]
    fn cpu_mark() -> NonZeroUsize;

    /// Reports a long wait for a spin lock around a `lock` that the CPU of mark `holder`
    /// holds, once; a CPU that spins calls this now and then. `late` belongs to one
    /// wait, and is `None` at first.
    ///
    /// # Context
    /// Any: the lock may be the console's.
    #[cfg(not(loom))]
    fn spins_long(_late: &mut Option<SpinLooks>, _holder: NonZeroUsize, _lock: &str) {}

    /// For the validator: the lock of `lock` is about to be taken at `at`, or was taken
    /// by a try. See [`crate::sync::lockdep`].
    #[cfg(all(debug_assertions, not(loom)))]
    fn lock_acquire(_lock: &crate::sync::LockKey, _manner: Manner, _at: Place) {}

    /// For the validator: the lock of `lock` is about to be opened.
    #[cfg(all(debug_assertions, not(loom)))]
    fn lock_release(_lock: &crate::sync::LockKey) {}

    /// For the validator: the caller at `at`, a function called `what`, may have to wait.
    #[cfg(all(debug_assertions, not(loom)))]
    fn might_sleep(_at: Place, _what: &str) {}

    /// For the validator: the caller, a function called `what`, is about to wait for CPUs that may
    /// wait for a spin lock.
    #[cfg(all(debug_assertions, not(loom)))]
    fn assert_no_spin_lock(_what: &str) {}

    /// Returns the name of the code that this CPU is inside of and that may not wait, such as
    /// the function of a stop, for a panic's message. `None` if there is none, or it isn't
    /// known.
    ///
    /// # Context
    /// IRQs masked or preemption off.
    fn no_wait_place() -> Option<&'static str> {
        None
    }
}

/// Checks that the running thread may give its CPU away, in every build and whether it
/// will have to or not: a path that rarely blocks would hide the mistake. `what` is the
/// function that may do so.
///
/// # Panics
/// With preemption off: a guard promises that the thread keeps its CPU. With IRQs
/// masked, as in a still point: the next thread would unmask them.
#[inline]
pub fn assert_may_schedule<E: LocalCpu>(what: &'static str) {
    if E::preempt_count() != 0 || !E::irqs_enabled() {
        may_not_wait::<E>(what);
    }
}

#[cold]
#[inline(never)]
fn may_not_wait<E: LocalCpu>(what: &str) -> ! {
    let count = E::preempt_count();
    match E::no_wait_place() {
        Some(place) => panic!("BUG: {place} calls {what}, which may wait"),
        None if count > 0 => panic!("BUG: {what} with preemption off (count {count})"),
        None => panic!("BUG: {what} with IRQs masked"),
    }
}

/// The interrupt that ended a sleep, as far as [`Wait::take_wake`] could take it.
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
    /// # Context
    /// IRQs masked.
    fn sleep();

    /// Takes the pending interrupt, if it is a wake or panic SGI or the timer's:
    /// acknowledge and end it; `DSB SY`; `ISB`. Turns the timer off before that, and goes
    /// to the panic handler after it, if it was the one or the other.
    ///
    /// # Context
    /// IRQs masked, priority mask closed to all but what is urgent.
    fn take_wake() -> Woken;

    /// Has the handlers of all interrupts that are pending run before it returns: `ISB`.
    /// To unmask IRQs alone promises only that they are taken in finite time while they
    /// stay unmasked. Interrupts that are pending at a context synchronization event are
    /// taken before the next instruction (Arm ARM, "Context synchronization event"). A
    /// loop that waits for what a handler does, and masks IRQs again in each turn, needs
    /// this in between, or it may turn for ever.
    ///
    /// # Context
    /// IRQs on.
    fn serve_interrupts();

    /// Sends the wake SGI to each CPU in `cpus`: `DSB ISHST`, SGI, `ISB`.
    fn send_wake(cpus: &[u64; MASK_WORDS]);

    /// Returns whether an interrupt is pending on this CPU that the priority mask lets through,
    /// whether IRQs are masked or not.
    fn interrupt_is_pending() -> bool {
        false
    }
}

/// A guard that keeps its thread on its CPU: while one lives, "this CPU" is always the
/// same CPU.
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

    /// Ends the guard without a preemption point: for a caller that looks for preempting
    /// work itself.
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
        // SAFETY: the flags are this guard's, and it ends here. Younger guards have ended:
        // every holder of guards keeps that order, and a debug build checks it above.
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
