//! The switches of the trace points: static keys, so that each of them costs one NOP, or nothing,
//! while it is off. Walks and stops are recorded unless the boot argument `tracing_on=0` says
//! otherwise; scheduling events if they are wanted and the former are recorded, too.
//!
//! A switch holds the add/remove lock. So no CPU is on its way and no step is installed or
//! removed: the rings have whole walks and calls, or nothing of them.

use crate::arch::aarch64::thread_head;
use crate::cpu::CpuMask;
use crate::kernel::static_key::{StaticKey, change, change_alone};
use crate::kernel::{Hw, Kernel, kernel};
use crate::patch::{Change, KeyError};
use crate::platform::{Irq, Platform, PreemptWork, Sgi};
use crate::sched::Class;
use crate::sync::IrqGuard;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::time::Instant;
use crate::trace::{NoMemory, SchedEvent};

/// Whether events are recorded. Its count is 0 or 1.
pub(super) static TRACING: StaticKey<true> = StaticKey::new();

/// Whether scheduling events are recorded. Its count is 0 or 1. The assembly of `arch` has it by
/// this name.
#[unsafe(export_name = "stillpoint_sched_tracing")]
pub(super) static SCHED_TRACING: StaticKey = StaticKey::new();

/// Whether scheduling events are to be recorded while events are. Relaxed: changed under the
/// add/remove lock; other readers want a moment's value.
static SCHED_WANTED: AtomicBool = AtomicBool::new(false);

/// Until when scheduling events were recorded, in ticks; [`Instant::FOREVER`] while they are. Relaxed:
/// as [`SCHED_WANTED`].
static SCHED_UNTIL: AtomicU64 = AtomicU64::new(0);

/// Why scheduling events are not recorded from now on, or recorded still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedTracingError {
    /// The key was not changed.
    Key(KeyError),
    /// There is no memory for the rings.
    NoMemory(NoMemory),
}

impl From<KeyError> for SchedTracingError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<NoMemory> for SchedTracingError {
    fn from(error: NoMemory) -> Self {
        Self::NoMemory(error)
    }
}

/// Returns whether events are recorded, or were a moment ago.
///
/// # Context
/// Any.
pub fn is_tracing() -> bool {
    TRACING.count_racy() != 0
}

/// Returns whether scheduling events are recorded while events are.
///
/// # Context
/// Any.
pub fn wants_sched_tracing() -> bool {
    SCHED_WANTED.load(Ordering::Relaxed)
}

/// Returns until when scheduling events were recorded; [`Instant::FOREVER`] while they are.
///
/// # Context
/// Any.
pub(super) fn sched_until() -> Instant {
    Instant(SCHED_UNTIL.load(Ordering::Relaxed))
}

/// Has events recorded or not, from the return on; scheduling events too if they are wanted.
///
/// # Context
/// Thread, preemption on; waits while CPUs come or go, and stops the machine.
///
/// # Errors
/// [`KeyError::WouldDeadlock`], in a callback of hotplug, under the hotplug lock and in a pinned
/// thread.
pub fn set_tracing(on: bool) -> Result<(), KeyError> {
    let registration = kernel().hotplug.registration_lock();
    let _alone = registration.map_err(|_| KeyError::WouldDeadlock)?;
    let with_sched = wants_sched_tracing();
    match (is_tracing(), on) {
        (false, true) if with_sched => switch_sched(true, &[TRACING.enabling()]),
        (false, true) => change(&[TRACING.enabling()]),
        (true, false) if with_sched => switch_sched(false, &[TRACING.disabling()]),
        (true, false) => change(&[TRACING.disabling()]),
        _ => Ok(()),
    }
}

/// Has scheduling events recorded or not while events are, from the return on. Those of an earlier
/// time are forgotten when it begins.
///
/// # Context
/// As for [`set_tracing`]; allocates.
///
/// # Errors
/// [`SchedTracingError`]; nothing has changed then.
pub fn set_sched_tracing(on: bool) -> Result<(), SchedTracingError> {
    let registration = kernel().hotplug.registration_lock();
    let _alone = registration.map_err(|_| KeyError::WouldDeadlock)?;
    if wants_sched_tracing() == on {
        return Ok(());
    }
    if on {
        kernel().trace.make_sched()?;
    }
    if is_tracing() {
        switch_sched(on, &[])?;
    }
    SCHED_WANTED.store(on, Ordering::Relaxed);
    Ok(())
}

/// Switches the recording of scheduling events, for which there are rings, and makes `other`, a change
/// at most, in the same still point.
fn switch_sched(on: bool, other: &[Change]) -> Result<(), KeyError> {
    let own = if on {
        kernel().trace.forget_sched(); // None is written now.
        SCHED_TRACING.enabling()
    } else {
        SCHED_TRACING.disabling()
    };
    match other {
        [] => change(&[own])?,
        [other, ..] => change(&[own, *other])?,
    }
    let until = if on { Instant::FOREVER } else { Hw::now() };
    SCHED_UNTIL.store(until.0, Ordering::Relaxed);
    Ok(())
}

/// Has no event recorded from the beginning.
///
/// # Context
/// As for [`change_alone`], once.
pub(crate) fn start_without(kernel: &Kernel) {
    let changed = change_alone(kernel, &[TRACING.disabling()]);
    changed.expect("BUG: tracing is on at first");
}

/// Records `event`, which happens now.
#[cold]
pub(super) fn record(event: &SchedEvent) {
    let masked = IrqGuard::<Hw>::new();
    let trace = &kernel().trace;
    trace.write_sched(&masked, Hw::this_cpu(), Hw::now(), event);
    masked.end_no_resched(); // Nothing here makes a thread runnable.
}

/// Returns whether this CPU may record what it also does before SHOULD_ONLINE and after DEAD, where
/// it touches no ring (`nothing-before-verdict` and `nothing-after-dead` of `ap`): to send an SGI,
/// and to take one by hand.
pub(super) fn may_record() -> bool {
    Hw::masks().is_online(Hw::this_cpu())
}

/// Records that this CPU is about to send `sgi` to `targets`.
#[cold]
pub(super) fn record_sgi(sgi: Sgi, targets: &CpuMask) {
    let masked = IrqGuard::<Hw>::new();
    if may_record() {
        let (me, now) = (Hw::this_cpu(), Hw::now());
        let trace = &kernel().trace;
        trace.write_sgi(&masked, me, now, sgi.number(), targets);
    }
    masked.end_no_resched(); // As `record`.
}

/// Records that this CPU has gone over to the running thread. The context switch calls it.
#[unsafe(no_mangle)]
extern "C" fn stillpoint_switch_traced() {
    let name = *thread_head::current().name();
    kernel().sched.with_current(|thread| {
        record(&SchedEvent::Switch {
            thread: thread.number(),
            name,
            is_idle: thread.class() == Class::Idle,
        });
    });
}

/// The time of an interrupt's handler, on this CPU with IRQs masked.
pub(super) struct IrqSpan {
    /// Whether a thread was due already that takes the CPU next.
    was_due: bool,
}

impl IrqSpan {
    /// Returns the span of a handler that is about to begin.
    pub(super) fn new() -> IrqSpan {
        IrqSpan {
            was_due: Hw::has_preempt_work(PreemptWork::Reschedule),
        }
    }

    /// Records that the handler of `irq` begins.
    pub(super) fn begins(&self, irq: Irq) {
        let intid = irq.intid();
        record(&SchedEvent::IrqBegin { intid });
    }

    /// Records that it has ended.
    pub(super) fn ends(&self) {
        let makes_due = !self.was_due && Hw::has_preempt_work(PreemptWork::Reschedule);
        record(&SchedEvent::IrqEnd { makes_due });
    }
}
