//! The still point: every online CPU is inside its stopper with interrupts off, and one of
//! them runs a function while nothing else moves.
//!
//! The function excludes every region with preemption off or IRQs masked, and so every
//! holder of a spin lock and every RCU reader. It does *not* exclude holders of locks that
//! sleep, nor threads that were merely preempted: [`StopMode::FlushPreempted`] does.
//!
//! | Function | What stops | Where the function runs |
//! |---|---|---|
//! | [`stop_machine()`], [`Stop`] | all online CPUs | on the caller's CPU, or as [`Stop`] asks |
//! | [`stop_machine_from_inactive_cpu`] | all online CPUs, and the one that comes up | the same |
//! | [`stop_two_cpus`] | two CPUs | on the first of them |
//! | [`stop_one_cpu`], [`stop_one_cpu_nowait`] | the threads of one CPU | there |
//! | [`stop_cpus`] | the threads of some CPUs, each for itself | on each of them |
//!
//! The names are Linux's.
//!
//! # When a stop is given up
//! | What | Error |
//! |---|---|
//! | a CPU that is asked for isn't online | [`StopError::NotOnline`] |
//! | the deadline comes while another stop, or an operation of hotplug, is in the way | [`StopError::Busy`] |
//! | the deadline comes before all CPUs have | [`StopError::Late`] |
//! | the token is cancelled before all CPUs have come, or was before the call | [`StopError::Cancelled`] |
//!
//! When the last CPU has come the CPUs mask interrupts, and from then on nothing gives the stop up. So
//! the function runs and the call returns its value, or it has not run and the call returns an error;
//! never both. It is decided by one compare-exchange, `MultiStop::abort` in
//! `src/stop_machine/multi_stop.rs`.
//!
//! # Before there are threads
//! Then one CPU is online, IRQs are masked, and each of these functions calls its function directly:
//! with IRQs masked where a still point is asked for, else with preemption off. The errors are the
//! same: another CPU isn't online, and a request that has a past deadline or a cancelled token is
//! given up.

use crate::cpu::{CpuId, CpuMask};
use crate::kernel::entry::enter;
use crate::kernel::{Hw, kernel};
use crate::stop_machine;
use crate::sync::might_sleep_in;

pub use super::stop_request::{CancelToken, Stop};
pub use crate::stop_machine::{
    FLUSH_LIMIT, HeldBy, HeldUp, NotCome, NowaitError, StopError, StopMode, StopReport,
};

/// Stops every online CPU, runs `call_fn` on the caller's while nothing else in
/// the machine moves, and returns its value. The description of the [module](self) says what
/// that excludes.
///
/// # Context
/// Thread, preemption on; takes [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock) and
/// the stop mutex. `call_fn` neither waits nor takes a lock that sleeps.
///
/// # Errors
/// [`StopError`]; `call_fn` has not run then. Without a deadline there is none today.
///
/// # Panics
/// As for [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock). Also if `call_fn` calls a
/// function that may wait for a thread, a lock or another CPU, or allocates.
pub fn stop_machine<R: Send>(call_fn: impl FnOnce() -> R + Send) -> Result<R, StopError> {
    Stop::new().run(call_fn)
}

/// Does as [`stop_machine()`], for a caller that holds
/// [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock), or is a callback of hotplug.
///
/// # Context
/// As for [`stop_machine()`], with the hotplug lock held.
///
/// # Errors
/// As for [`stop_machine()`].
///
/// # Panics
/// If the lock isn't held; as for [`stop_machine()`] otherwise.
pub fn stop_machine_cpuslocked<R: Send>(
    call_fn: impl FnOnce() -> R + Send,
) -> Result<R, StopError> {
    Stop::new().cpuslocked().run(call_fn)
}

/// Does as [`stop_machine()`] on a CPU that comes up and isn't online yet: all online CPUs and this
/// one stop. `call_fn` runs on this one; [`Stop::from_inactive_cpu`] has it run elsewhere, or on each.
///
/// # Context
/// The startup of an [`InitStep`] that says that it [stops the machine], on its CPU; holding no spin
/// lock: a CPU that waits for one can't come, and the machine hangs. It takes no lock that sleeps: the
/// operation that brings the CPU up has them. It waits with IRQs masked, and is not given up: the
/// operation can't turn back there.
///
/// ```no_run
/// use core::sync::atomic::{AtomicUsize, Ordering};
/// use stillpoint::api::hotplug::{InitStep, Step};
/// use stillpoint::api::stop::stop_machine_from_inactive_cpu;
///
/// static LARGEST: AtomicUsize = AtomicUsize::new(0);
/// // Before a CPU does anything, all others have seen that it is there.
/// let step: Step = InitStep::new("largest")
///     .stops_machine()
///     .startup(|cpu| {
///         stop_machine_from_inactive_cpu(|| LARGEST.fetch_max(cpu.index(), Ordering::Relaxed));
///     })
///     .install_nocalls()?;
/// ```
///
/// # Panics
/// Elsewhere; if `call_fn` may wait, or allocates; with a spin lock held, but one that was taken with
/// `lock_irqsave` is found in a debug build only.
///
/// [`InitStep`]: crate::api::hotplug::InitStep
/// [stops the machine]: crate::api::hotplug::InitStep::stops_machine
pub fn stop_machine_from_inactive_cpu<R: Send>(call_fn: impl FnOnce() -> R + Send) -> R {
    let stopped = Stop::new().from_inactive_cpu().run(call_fn);
    // Nothing is asked for that could fail.
    stopped.unwrap_or_else(|error| panic!("BUG: a stop without a request failed: {error}"))
}

/// As [`stop_machine()`], and returns the times of the stop, too.
///
/// ```no_run
#[doc = include_str!("../../examples/api/still_times.rs")]
/// ```
///
/// # Context
/// As for [`stop_machine()`].
///
/// # Errors
/// [`StopError`]; `call_fn` has not run then.
///
/// # Panics
/// As for [`stop_machine()`].
pub fn timed_stop_machine<R: Send>(
    call_fn: impl FnOnce() -> R + Send,
) -> Result<(R, StopReport), StopError> {
    Stop::new().run_timed(call_fn)
}

/// Runs `call_fn` in the stopper of `cpu`, before every thread there, and returns its value. No
/// other CPU stops. Threads of `cpu` that have preemption off go on until it is on again.
///
/// `call_fn` runs with IRQs on and preemption off. `cpu` may go offline right after, unless the
/// caller holds [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock).
///
/// ```no_run
/// use stillpoint::api::cpu;
/// use stillpoint::api::stop::stop_one_cpu;
///
/// let busy = cpu::current();
/// // No thread of that CPU is in a region with preemption off while this runs.
/// assert_eq!(stop_one_cpu(busy, cpu::current), Ok(busy));
/// ```
///
/// # Context
/// Thread, preemption on; sleeps. After ten seconds it logs that it waits, and waits on.
///
/// # Errors
/// [`StopError::NotOnline`]: `cpu` is not online, or the machine stops for it to leave. `call_fn` has
/// not run then.
///
/// # Panics
/// With preemption off; if `call_fn` sleeps.
pub fn stop_one_cpu<R: Send>(
    cpu: CpuId,
    call_fn: impl FnOnce() -> R + Send,
) -> Result<R, StopError> {
    let _in_kernel = enter();
    let stop = &kernel().stop_machine;
    match stop.alone() {
        Some(alone) => alone.stop_one_cpu(cpu, call_fn),
        None => stop.stop_one_cpu(cpu, call_fn),
    }
}

/// A work for [`stop_one_cpu_nowait`]. It is never freed; a copy is the same work.
#[derive(Clone, Copy, Debug)]
pub struct StopWork(&'static stop_machine::StopWork<Hw>);

impl StopWork {
    /// Returns a work that is queued nowhere. It calls `call_fn` with the number of its CPU, as
    /// [`stop_one_cpu`] does.
    ///
    /// # Context
    /// Any; allocates what is never freed.
    #[must_use]
    pub fn leak(call_fn: impl Fn(CpuId) + Send + Sync + 'static) -> StopWork {
        StopWork(stop_machine::StopWork::leak(call_fn))
    }
}

/// Has the stopper of `cpu` do `work`, as [`stop_one_cpu`] says, without waiting. From when it
/// begins the work may be queued again. Before there are threads it is done at once; inside the
/// function of a stop or of a work, its own too, it is done after that function.
///
/// ```no_run
/// use stillpoint::api::stop::{StopWork, stop_one_cpu_nowait};
/// use stillpoint::api::cpu;
/// use stillpoint::println;
///
/// let work = StopWork::leak(|cpu| println!("in the stopper of CPU {cpu}"));
/// let queued = stop_one_cpu_nowait(cpu::current(), work);
/// assert_eq!(queued, Ok(()));
/// ```
///
/// # Context
/// Any, an interrupt handler included.
///
/// # Errors
/// [`NowaitError`]: the CPU is not online, or the machine stops for it to leave; or the work is
/// queued already.
pub fn stop_one_cpu_nowait(cpu: CpuId, work: StopWork) -> Result<(), NowaitError> {
    let _in_kernel = enter();
    let stop = &kernel().stop_machine;
    match stop.alone() {
        Some(alone) => alone.stop_one_cpu_nowait(cpu, work.0),
        None => stop.stop_one_cpu_nowait(cpu, work.0),
    }
}

/// Stops `cpu` and `other`, runs `call_fn` on `cpu` while neither moves, and returns its value.
/// All other CPUs go on.
///
/// ```no_run
#[doc = include_str!("../../examples/api/budgets.rs")]
/// ```
///
/// # Context
/// Thread, preemption on; sleeps. `call_fn` runs as that of [`stop_machine()`] does.
///
/// # Errors
/// [`StopError::NotOnline`]: one of the two is not, or the machine stops for it to leave. Neither was
/// stopped.
///
/// # Panics
/// With preemption off; if the two are the same CPU; if `call_fn` may wait.
pub fn stop_two_cpus<R: Send>(
    cpu: CpuId,
    other: CpuId,
    call_fn: impl FnOnce() -> R + Send,
) -> Result<R, StopError> {
    let _in_kernel = enter();
    let stop = &kernel().stop_machine;
    match stop.alone() {
        Some(alone) => Err(alone.stop_two_cpus(cpu, other)),
        None => stop.stop_two_cpus(cpu, other, call_fn),
    }
}

/// Runs `call_fn` in the stopper of each of `cpus` that is online, as [`stop_one_cpu`] does on one,
/// and returns which those were. They run it at the same time, but don't wait for each other.
///
/// # Context
/// Thread, preemption on; takes the stop mutex, and sleeps.
///
/// # Panics
/// With preemption off; if `call_fn` sleeps.
pub fn stop_cpus(cpus: &CpuMask, call_fn: impl Fn(CpuId) + Sync) -> CpuMask {
    let _in_kernel = enter();
    let stop = &kernel().stop_machine;
    if let Some(alone) = stop.alone() {
        return alone.stop_cpus(cpus, &call_fn);
    }
    might_sleep_in::<Hw>("stop_cpus"); // Not the mutex, which the caller doesn't know.
    let still = stop.lock();
    stop.stop_cpus(&still, cpus, &call_fn)
}
