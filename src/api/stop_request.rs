//! A stop of the machine with a deadline, a token that cancels it, or another request.

use core::fmt;

use crate::cpu::{CpuId, CpuMask};
use crate::kernel::entry::enter;
use crate::kernel::{Hw, kernel};
use crate::stop_machine::{self, StopError, StopMode, StopReport, StopRequest};
use crate::sync::might_sleep_in;
use crate::time::Instant;

/// Cancels a [`Stop`], from any context. A clone cancels the same one.
///
/// No thread runs on a CPU that has come to the stop. So what cancels it is the function of a timer,
/// another interrupt handler, or a thread of a CPU that has not come.
///
/// A token that was cancelled stays so: a later stop with it is given up at once.
///
/// ```no_run
#[doc = include_str!("../../examples/api/cancel.rs")]
/// ```
#[derive(Clone, Debug, Default)]
pub struct CancelToken(stop_machine::CancelToken<Hw>);

impl CancelToken {
    /// Returns a token that is not cancelled.
    ///
    /// # Context
    /// Any; allocates.
    #[must_use]
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Cancels the stop: it is given up, unless all CPUs have come. If its caller still waits for
    /// another stop or an operation of hotplug, it is given up after that.
    ///
    /// # Context
    /// Any, an interrupt handler included.
    pub fn cancel(&self) {
        let _in_kernel = enter();
        self.0.cancel();
    }

    /// Returns whether it was cancelled.
    ///
    /// # Context
    /// Any.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// A stop of the machine, and what is asked of it. Without a request it is
/// [`stop_machine`](super::stop::stop_machine).
///
/// ```no_run
#[doc = include_str!("../../examples/api/late.rs")]
/// ```
#[must_use]
pub struct Stop<'a> {
    request: StopRequest<'a, Hw>,
    cpuslocked: bool,
    from_inactive_cpu: bool,
}

impl<'a> Stop<'a> {
    /// Returns a stop without a request.
    pub fn new() -> Stop<'a> {
        Stop {
            request: StopRequest::new(),
            cpuslocked: false,
            from_inactive_cpu: false,
        }
    }

    /// Asks for the function to run on `cpu` instead of the caller's CPU.
    pub fn on(mut self, cpu: CpuId) -> Self {
        self.request = self.request.on(cpu);
        self
    }

    /// Asks for a stop that excludes what `mode` says.
    ///
    /// ```no_run
    /// use core::sync::atomic::{AtomicU64, Ordering};
    /// use stillpoint::api::stop::{Stop, StopMode};
    /// use stillpoint::api::thread;
    ///
    /// static RATE: AtomicU64 = AtomicU64::new(1);
    /// // A reader, on any CPU, with preemption on. No stop of this mode comes in between.
    /// let same = thread::no_flush(|| {
    ///     RATE.load(Ordering::Relaxed) == RATE.load(Ordering::Relaxed)
    /// });
    /// assert!(same);
    /// let changed = Stop::new()
    ///     .mode(StopMode::FlushPreempted)
    ///     .run(|| RATE.store(2, Ordering::Relaxed));
    /// assert_eq!(changed, Ok(()));
    /// ```
    pub fn mode(mut self, mode: StopMode) -> Self {
        self.request = self.request.mode(mode);
        self
    }

    /// Asks for the stop to be given up if not all CPUs have come by `deadline`. It counts from the
    /// call: also a wait for another stop, or for an operation of hotplug, ends there.
    ///
    /// A function that has begun isn't interrupted. [`Instant::FOREVER`] asks for no deadline, and so
    /// does [`deadline`](crate::api::time::deadline) of more time than the counter has: a stop that
    /// flushes preempted threads is given up after [`FLUSH_LIMIT`] then.
    ///
    /// [`FLUSH_LIMIT`]: crate::api::stop::FLUSH_LIMIT
    pub fn before(mut self, deadline: Instant) -> Self {
        self.request = self.request.before(deadline);
        self
    }

    /// Asks for the stop to be given up when `token` is cancelled, unless all CPUs have come by then: see
    /// [when a stop is given up](crate::api::stop#when-a-stop-is-given-up).
    pub fn cancelled_by(mut self, token: &'a CancelToken) -> Self {
        self.request = self.request.cancelled_by(&token.0);
        self
    }

    /// Asks each CPU to call `release_fn` as it leaves the still point, after the function has
    /// returned. IRQs are masked there, and `release_fn` may do what the function may. It isn't
    /// called if the stop is given up.
    pub fn and_release(mut self, release_fn: &'a (dyn Fn(CpuId) + Sync)) -> Self {
        self.request = self.request.and_release(release_fn);
        self
    }

    /// Says that the caller holds [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock), or is
    /// a callback of hotplug: the stop doesn't take it. A callback of `post_dead` runs without
    /// that lock, and may not stop the machine. Before there are threads it says nothing.
    pub fn cpuslocked(mut self) -> Self {
        self.cpuslocked = true;
        self
    }

    /// Says that the caller is a CPU that comes up and isn't online yet, as
    /// [`stop_machine_from_inactive_cpu`] demands. It takes part in the stop, and may be asked to run
    /// the function, alone or among others. The stop may not have a deadline, a token, or the mode
    /// [`StopMode::FlushPreempted`].
    ///
    /// [`stop_machine_from_inactive_cpu`]: crate::api::stop::stop_machine_from_inactive_cpu
    pub fn from_inactive_cpu(mut self) -> Self {
        self.from_inactive_cpu = true;
        self
    }

    /// Stops the machine and runs `call_fn`; returns its value.
    ///
    /// # Context
    /// As for [`stop_machine`](super::stop::stop_machine). Allocates if there is a deadline, and
    /// with an error.
    ///
    /// # Errors
    /// [`StopError`]; `call_fn` has not run then, and nothing has changed.
    ///
    /// # Panics
    /// As for [`stop_machine`](super::stop::stop_machine).
    pub fn run<R: Send>(self, call_fn: impl FnOnce() -> R + Send) -> Result<R, StopError> {
        self.run_timed(call_fn).map(|(value, _)| value)
    }

    /// Does as [`Stop::run`], and returns the times of the stop, too.
    ///
    /// # Context
    /// As for [`Stop::run`].
    ///
    /// # Errors
    /// As for [`Stop::run`].
    ///
    /// # Panics
    /// As for [`Stop::run`].
    pub fn run_timed<R: Send>(
        self,
        call_fn: impl FnOnce() -> R + Send,
    ) -> Result<(R, StopReport), StopError> {
        let _in_kernel = enter();
        let stop = &kernel().stop_machine;
        match stop.alone() {
            Some(alone) => alone.stop(&self.request, call_fn),
            None if self.from_inactive_cpu => stop.stop_from_inactive(&self.request, call_fn),
            None => self.locked(|still, request| stop.stop(still, request, call_fn)),
        }
    }

    /// Stops the machine and runs `call_fn` on each of `cpus` at the same time, with the number of
    /// the CPU; returns the times of the stop.
    ///
    /// # Context
    /// As for [`Stop::run_timed`].
    ///
    /// # Errors
    /// As for [`Stop::run`]; [`StopError::NotOnline`] if one of `cpus` isn't.
    ///
    /// # Panics
    /// As for [`Stop::run`]; if `cpus` is empty.
    pub fn run_on_each(
        self,
        cpus: &CpuMask,
        call_fn: impl Fn(CpuId) + Sync,
    ) -> Result<StopReport, StopError> {
        let _in_kernel = enter();
        let stop = &kernel().stop_machine;
        match stop.alone() {
            Some(alone) => alone.stop_each(&self.request, cpus, &call_fn),
            None if self.from_inactive_cpu => {
                stop.stop_each_from_inactive(&self.request, *cpus, &call_fn)
            }
            None => self.locked(|still, request| stop.stop_each(still, request, *cpus, &call_fn)),
        }
    }

    /// Calls `stop_fn` with the locks of a stop held, in time.
    fn locked<R>(
        self,
        stop_fn: impl FnOnce(
            &stop_machine::StopMutexGuard<'_, Hw>,
            &StopRequest<'_, Hw>,
        ) -> Result<R, StopError>,
    ) -> Result<R, StopError> {
        might_sleep_in::<Hw>("stop_machine"); // Before it looks at the locks.
        let deadline = self.request.limit(); // The locks are counted in.
        let request = self.request.before(deadline);
        let hotplug = &kernel().hotplug;
        let held = if self.cpuslocked {
            assert!(
                hotplug.holds_cpus_lock(),
                "BUG: the hotplug lock isn't held, as a stop was told"
            );
            None
        } else {
            let locked = match hotplug.cpus_read_lock_until(deadline) {
                Ok(locked) => locked.map_err(StopError::Busy)?,
                Err(_) => hotplug.cpus_read_lock(), // Panics, and says why.
            };
            Some(locked)
        };
        let stop = &kernel().stop_machine;
        let Some(still) = stop.lock_until(deadline) else {
            return Err(StopError::Busy(stop.owner_racy()));
        };
        let stopped = stop_fn(&still, &request);
        drop(still);
        drop(held);
        stopped
    }
}

impl Default for Stop<'_> {
    fn default() -> Self {
        Stop::new()
    }
}

impl fmt::Debug for Stop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.request, f)
    }
}
