//! What a caller asks of a stop, and why a stop did not happen.

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::cpu::{CpuId, CpuMask};
use crate::sched::ThreadName;
use crate::stop_machine::{CancelToken, NotCome, StopHost};
use crate::time::Instant;

/// Which readers the function of a stop excludes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopMode {
    /// Those that keep their CPU: preemption is off, or IRQs are masked.
    #[default]
    Classic,
    /// Also threads that were preempted, unless in their application's own code: each goes on
    /// until it has given its CPU away by itself, and then the machine stops. So all code of the
    /// kernel that doesn't sleep is excluded, and an application's in `api::thread::no_flush`.
    /// Such a stop has a deadline, [`FLUSH_LIMIT`] if none is asked for.
    FlushPreempted,
}

/// How long a stop that flushes preempted threads may take to begin, unless another deadline is
/// asked for.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// What a caller asks of a stop beyond its function. Nothing by default: the function runs on the
/// caller's CPU, and the stop has no deadline.
pub struct StopRequest<'a, P: StopHost> {
    pub(super) cpu: Option<CpuId>,
    pub(super) mode: StopMode,
    pub(super) deadline: Instant,
    pub(super) cancel: Option<&'a CancelToken<P>>,
    pub(super) release_fn: Option<&'a (dyn Fn(CpuId) + Sync)>,
    pub(super) leaving: Option<&'a CpuMask>,
}

impl<'a, P: StopHost> StopRequest<'a, P> {
    /// Returns a request of nothing in particular.
    pub fn new() -> Self {
        StopRequest {
            cpu: None,
            mode: StopMode::Classic,
            deadline: Instant::FOREVER,
            cancel: None,
            release_fn: None,
            leaving: None,
        }
    }

    /// Asks for the function to run on `cpu`.
    #[must_use]
    pub fn on(mut self, cpu: CpuId) -> Self {
        self.cpu = Some(cpu);
        self
    }

    /// Asks for a stop that excludes what `mode` says.
    #[must_use]
    pub fn mode(mut self, mode: StopMode) -> Self {
        self.mode = mode;
        self
    }

    /// Asks for the stop to be given up if not all CPUs have come by `deadline`.
    #[must_use]
    pub fn before(mut self, deadline: Instant) -> Self {
        self.deadline = deadline;
        self
    }

    /// Asks for the stop to be given up when `token` is cancelled, unless all CPUs have come.
    #[must_use]
    pub fn cancelled_by(mut self, token: &'a CancelToken<P>) -> Self {
        self.cancel = Some(token);
        self
    }

    /// Asks each CPU to call `release_fn` as it leaves the still point, after the stop's function
    /// has returned: IRQs are masked there, and the function may do what the stop's function
    /// may. It doesn't run if the stop is given up.
    #[must_use]
    pub fn and_release(mut self, release_fn: &'a (dyn Fn(CpuId) + Sync)) -> Self {
        self.release_fn = Some(release_fn);
        self
    }

    /// Says that the stop's function takes `cpus` offline: their stoppers refuse all works behind
    /// their parts in the stop. If the stop is given up, they accept works again.
    ///
    /// The caller has the hotplug lock for writing.
    #[must_use]
    pub fn taking_offline(mut self, cpus: &'a CpuMask) -> Self {
        self.leaving = Some(cpus);
        self
    }

    /// Returns when a stop that is called for now is given up.
    pub(crate) fn limit(&self) -> Instant {
        match self.mode {
            StopMode::FlushPreempted if self.deadline == Instant::FOREVER => {
                P::deadline(FLUSH_LIMIT)
            }
            _ => self.deadline,
        }
    }
}

impl<P: StopHost> Default for StopRequest<'_, P> {
    fn default() -> Self {
        StopRequest::new()
    }
}

impl<P: StopHost> fmt::Debug for StopRequest<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopRequest")
            .field("cpu", &self.cpu)
            .field("mode", &self.mode)
            .field("deadline", &self.deadline)
            .field("may_be_cancelled", &self.cancel.is_some())
            .field("has_release", &self.release_fn.is_some())
            .field("leaving", &self.leaving)
            .finish()
    }
}

/// Why a stop did not happen. Its function has not run then, and nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopError {
    /// This CPU, which should run the function or take part, is not online, or is about to leave.
    NotOnline(CpuId),
    /// The deadline came before the stop could begin: another stop, or an operation of hotplug, was
    /// in the way. This thread called for it, if it is known.
    Busy(Option<ThreadName>),
    /// The deadline came before these CPUs did. If there is none, the last one came at the very
    /// instant, no CPU was asked to come because the deadline was past, or there were no threads
    /// yet.
    Late(Vec<NotCome>),
    /// The stop was cancelled before these CPUs came. If there is none: as for [`StopError::Late`].
    Cancelled(Vec<NotCome>),
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopError::NotOnline(cpu) => write!(f, "CPU {cpu} is not online"),
            StopError::Busy(Some(thread)) => {
                write!(
                    f,
                    "an operation of thread {thread} lasted until the deadline"
                )
            }
            StopError::Busy(None) => f.write_str("the deadline was past before the stop began"),
            StopError::Late(missing) => {
                f.write_str("the machine did not stop before the deadline")?;
                list(f, missing)
            }
            StopError::Cancelled(missing) => {
                f.write_str("the stop was cancelled")?;
                list(f, missing)
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, missing: &[NotCome]) -> fmt::Result {
    for (nth, not_come) in missing.iter().enumerate() {
        write!(f, "{} {not_come}", if nth == 0 { ":" } else { "," })?;
    }
    Ok(())
}

impl core::error::Error for StopError {}
