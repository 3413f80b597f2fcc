//! The lock validator of this kernel, in a debug build: see [`crate::sync::lockdep`].
//!
//! The list of the locks that a thread holds is in the thread's head, which SP_EL0 points
//! to. An interrupt handler runs with the head of the interrupted thread.

// A report is made once, and there may be no heap to put it on.
#![allow(clippy::result_large_err)]

use crate::arch::aarch64::thread_head;
use crate::kernel::{Hw, panic};
use crate::sync::lockdep::{HeldLocks, LockClass, Lockdep, Manner, Nesting, Place, Taking, Where};
use crate::sync::{IrqFlags, LocalCpu, LockKey};

static LOCKDEP: Lockdep<Hw> = Lockdep::new();

/// Calls `use_fn` with the locks that the running thread holds, and with whether IRQs were
/// on. Returns `None` without a call once a panic has begun (`silent-after-report` of
/// [`lockdep`](crate::sync::lockdep)).
fn with_held<R>(use_fn: impl FnOnce(&mut HeldLocks, bool) -> R) -> Option<R> {
    if panic::has_begun() {
        return None;
    }
    let irqs_on = Hw::irqs_enabled();
    let flags: IrqFlags = Hw::irq_save();
    let held = thread_head::current().held();
    // SAFETY: the list is the running thread's and IRQs are masked, so no other code uses it.
    // `use_fn` doesn't come back here: the validator's own lock is not validated.
    let result = unsafe { held.with(|held| use_fn(held, irqs_on)) };
    // This is no preemption point, because the caller may be about to wait.
    // SAFETY: the flags were saved above, and no guard has been made since.
    unsafe { Hw::irq_restore(flags) };
    Some(result)
}

/// See [`LocalCpu::lock_acquire`].
pub(super) fn acquire(lock: &LockKey, manner: Manner, at: Place) {
    let Some(class) = lock.class() else { return };
    let level = match manner {
        Manner::Nested(Nesting::Level(level)) => level,
        _ => 0,
    };
    let found = with_held(|held, irqs_on| {
        let base = lock.number(|| LOCKDEP.number(class));
        let class = LockClass { level, ..class };
        let number = match level {
            0 => base,
            _ => LOCKDEP.number(class),
        };
        let (Some(base), Some(number)) = (base, number) else {
            return Ok(()); // The validator is off.
        };
        let taking = Taking {
            number,
            base,
            class,
            instance: (&raw const *lock).addr(),
            waits: manner != Manner::Try,
            ascending: manner == Manner::Nested(Nesting::Ascending),
            at,
            place: Where {
                in_irq: held.in_irq(),
                irqs_on,
            },
            who: thread_head::current().name().as_str(),
        };
        LOCKDEP.acquire(held, &taking)
    });
    if let Some(Err(report)) = found {
        panic!("BUG: {report}");
    }
}

/// See [`LocalCpu::lock_release`].
pub(super) fn release(lock: &LockKey) {
    let _unless_in_panic = with_held(|held, _| LOCKDEP.release(held, (&raw const *lock).addr()));
}

/// See [`LocalCpu::might_sleep`].
pub(super) fn might_sleep(at: Place, what: &str) {
    let found = with_held(|held, irqs_on| held.may_sleep(at, Hw::preempt_count(), irqs_on));
    if let Some(Err(report)) = found {
        match Hw::no_wait_place() {
            Some(place) => panic!("BUG: {place} calls {what}, which may wait: {report}"),
            None => panic!("BUG: {report}"),
        }
    }
    // Logged here, where no spin lock is held, because the console takes one.
    if let Some(full) = LOCKDEP.notice() {
        log::warn!("{full}: the lock validator is off");
    }
}

/// See [`LocalCpu::assert_no_spin_lock`].
pub(super) fn assert_no_spin_lock(what: &str) {
    if let Some(Some(lock)) = with_held(|held, _| held.last_spin_lock().copied()) {
        panic!("BUG: {what} with a spin lock held:\n  holds {lock}");
    }
}

/// Records that an interrupt handler begins or ends on this CPU.
pub(in crate::kernel) fn set_in_irq(in_irq: bool) {
    let _unless_in_panic = with_held(|held, _| held.set_in_irq(in_irq));
}
