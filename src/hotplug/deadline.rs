//! The deadline of a way down, of one CPU or of a batch. Until the machine is stopped the
//! operation turns back there: a lock isn't waited for any longer, `cpuhp` walks back after the
//! step that it is in, and the stop is given up unless all CPUs have come.

use core::fmt;

use crate::cpu::CpuId;
use crate::hotplug::{CpuDownError, Hotplug, HotplugHost, StepError};
use crate::sched::ThreadName;
use crate::stop_machine::{NotCome, StopError, StopMode, StopMutexGuard};
use crate::sync::atomic::Ordering;
use crate::time::Instant;
use crate::trace::Direction;

/// What a way down had waited for when its deadline came: before its first step, before the stop,
/// or, in a batch, for what is common to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Nothing: the deadline was past when it began, or a step before the stop took until then.
    Nothing,
    /// The operation, the installation or the stop of this thread.
    Operation(ThreadName),
    /// This thread, which holds `cpus_read_lock`.
    Reader(ThreadName),
    /// This CPU, which was in a section with preemption off.
    Cpu(CpuId),
    /// This CPU, which did not come to the stop, and perhaps others.
    Stop(NotCome),
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Awaited::Nothing => f.write_str("the deadline is past"),
            Awaited::Operation(thread) => {
                write!(
                    f,
                    "an operation of thread {thread} lasted until the deadline"
                )
            }
            Awaited::Reader(thread) => {
                write!(f, "thread {thread} held cpus_read_lock until the deadline")
            }
            Awaited::Cpu(cpu) => fmt::Display::fmt(&StepError::NotQuiescent(*cpu), f),
            Awaited::Stop(missing) => {
                write!(f, "the machine did not stop before the deadline: {missing}")
            }
        }
    }
}

/// Why a CPU whose steps in thread context are down has not gone, or was not seen to go.
pub(super) enum NotTakenDown {
    /// The deadline came before the stop, and this was waited for. `cpuhp` is parked.
    Late(Awaited),
    /// It is offline, and quarantined.
    Lost(CpuDownError),
}

impl<P: HotplugHost> Hotplug<P> {
    /// Sets by which kind of stop CPUs leave from now on. With [`StopMode::FlushPreempted`] a
    /// reader of the online mask that doesn't sleep sees no CPU leave, with preemption on too; a
    /// way down turns back if the flush takes longer than
    /// [`FLUSH_LIMIT`](crate::stop_machine::FLUSH_LIMIT).
    pub fn set_down_stop(&self, mode: StopMode) {
        let flushes = mode == StopMode::FlushPreempted;
        self.down_flushes.store(flushes, Ordering::Relaxed);
    }

    /// Returns by which kind of stop CPUs leave.
    pub fn down_stop(&self) -> StopMode {
        if self.down_flushes.load(Ordering::Relaxed) {
            StopMode::FlushPreempted
        } else {
            StopMode::Classic
        }
    }

    /// Waits until the machine can be stopped; returns the stop mutex.
    ///
    /// # Errors
    /// What was waited for when `deadline` came.
    pub(super) fn may_stop(
        &self,
        deadline: Instant,
    ) -> Result<StopMutexGuard<'static, P>, Awaited> {
        let stop = P::stop_machine();
        let still = stop.lock_until(deadline).ok_or_else(|| {
            let owner = stop.owner_racy();
            owner.map_or(Awaited::Nothing, Awaited::Operation)
        })?;
        if P::now() >= deadline {
            return Err(Awaited::Nothing);
        }
        Ok(still)
    }

    /// Takes up again what `cpuhp` has taken down, when the deadline has come before the stop.
    pub(super) fn take_again(
        &'static self,
        cpu: CpuId,
        origin: usize,
        awaited: Awaited,
    ) -> CpuDownError {
        match self.command(cpu).run_on(cpu, Direction::Up, origin) {
            Ok(()) => CpuDownError::Late { cpu, awaited },
            Err(failed) => self.down_error(cpu, origin, failed),
        }
    }

    /// Returns until when the walks of `cpus` CPUs may go on that are to go together before
    /// `deadline` (`time-for-the-stop` of [`batch`](crate::hotplug::batch)).
    pub(super) fn walks_end(deadline: Instant, cpus: usize) -> Instant {
        if cpus < 2 || deadline == Instant::FOREVER {
            return deadline;
        }
        let now = P::now();
        let left = deadline.ticks_since(now);
        now.after_ticks(left - left / 4)
    }
}

/// Returns what a stop that was given up at its deadline had waited for.
///
/// # Panics
/// If it failed otherwise: this thread has the hotplug lock, so the CPUs are there.
pub(super) fn not_stopped(error: &StopError) -> Awaited {
    match error {
        StopError::Late(missing) => missing
            .first()
            .map_or(Awaited::Nothing, |first| Awaited::Stop(*first)),
        _ => panic!("BUG: a stop of hotplug failed: {error}"),
    }
}
