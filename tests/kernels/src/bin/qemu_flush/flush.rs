//! A flush with a deadline, whose function is called by the last CPU that finishes.

use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::sync::Completion;
use stillpoint::api::thread;
use stillpoint::api::time::{self, Timer};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::sched::{FlushHolder, FlushHook, FlushId};
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use stillpoint::sync::{LocalCpu, SpinLock};

/// How long a flush may take. A slow host needs time; where one is to fail it has less.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// What the flush under way is for. Relaxed and under a lock: one flush at a time.
static CALL: SpinLock<Option<fn()>, Hw> = SpinLock::new(None);
static OVER: Completion = Completion::new();
/// The last CPU has finished, or the time is over: the first to say so decides.
static DECIDED: AtomicBool = AtomicBool::new(false);
static HOLDERS: SpinLock<[Option<FlushHolder>; 4], Hw> = SpinLock::new([None; 4]);
/// How often a CPU had not finished when the hook was called.
static TOO_EARLY: AtomicU32 = AtomicU32::new(0);

struct Hook;

impl FlushHook for Hook {
    fn last_finished(&self, id: FlushId) {
        // A queue that another CPU has locked at this moment is looked at again.
        let is_unknown = |holder: &FlushHolder| holder.thread.is_none();
        let mut holders: Vec<_>;
        loop {
            holders = kernel().sched.flush_holders(id).collect();
            if !holders.iter().any(is_unknown) {
                break;
            }
            Hw::relax();
        }
        TOO_EARLY.fetch_add(u32::from(!holders.is_empty()), Ordering::Relaxed);
        if DECIDED.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(call_fn) = CALL.lock_irqsave().take() {
            call_fn();
        }
        let _end = kernel().sched.end_flush(id);
        OVER.complete();
    }
}

/// Ends a flush whose time is over, and notes what holds it up.
fn give_up(id: FlushId) {
    if DECIDED.swap(true, Ordering::AcqRel) {
        return;
    }
    let mut holders = HOLDERS.lock_irqsave();
    for (place, holder) in holders.iter_mut().zip(kernel().sched.flush_holders(id)) {
        *place = Some(holder);
    }
    drop(holders);
    let _end = kernel().sched.end_flush(id);
    OVER.complete();
}

/// Flushes preempted threads, and calls `call_fn` when no CPU has any.
///
/// # Errors
/// What holds it up, after [`LIMIT`].
pub(crate) fn flush(call_fn: fn()) -> Result<(), Vec<FlushHolder>> {
    flush_within(LIMIT, call_fn, || ())
}

/// Does as [`flush`] with another limit. The caller calls `meanwhile_fn` when the flush has
/// begun.
pub(crate) fn flush_within(
    limit: Duration,
    call_fn: fn(),
    meanwhile_fn: impl FnOnce(),
) -> Result<(), Vec<FlushHolder>> {
    // As a function of the kernel, which would lose the CPU otherwise as soon as it has begun.
    thread::no_flush(|| begin_and_wait(limit, call_fn, meanwhile_fn))
}

fn begin_and_wait(
    limit: Duration,
    call_fn: fn(),
    meanwhile_fn: impl FnOnce(),
) -> Result<(), Vec<FlushHolder>> {
    let held = kernel().hotplug.cpus_read_lock();
    let _still = kernel().stop_machine.lock();
    *CALL.lock_irqsave() = Some(call_fn);
    DECIDED.store(false, Ordering::Release);
    HOLDERS.lock_irqsave().fill(None);
    let online = kernel().masks.online();
    let id = kernel().sched.begin_flush(&online, &Hook);
    let timer = Timer::new(move || give_up(id));
    timer.start(time::deadline(limit));
    meanwhile_fn();
    OVER.wait();
    timer.cancel();
    drop(held);
    let holders: Vec<_> = HOLDERS.lock_irqsave().iter().flatten().copied().collect();
    if CALL.lock_irqsave().take().is_some() {
        Err(holders)
    } else {
        Ok(())
    }
}

/// Returns how often a CPU had not finished when the hook was called.
pub(crate) fn too_early() -> u32 {
    TOO_EARLY.load(Ordering::Relaxed)
}
