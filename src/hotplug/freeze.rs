//! Hotplug is *disabled* while a guard exists: operations fail at once, with EBUSY. A *freeze*
//! takes all CPUs down but one and disables hotplug; a thaw brings back those that went.
//!
//! # Invariants
//! - **disabled-between-operations**: the count of guards is raised under the add/remove lock,
//!   so no operation is under way when [`Hotplug::disable`] returns.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use crate::cpu::{CpuId, CpuMask};
use crate::errno::Errno;
use crate::hotplug::batch_error::Failures;
use crate::hotplug::registration::Operation;
use crate::hotplug::{ALL_UP, Awaited, CpuDownError, CpuUpError, Hotplug, HotplugHost};
use crate::sched::lock::WouldDeadlock;
use crate::sync::atomic::Ordering;

/// Hotplug is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotplugDisabled;

impl fmt::Display for HotplugDisabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CPU hotplug is disabled")
    }
}

impl core::error::Error for HotplugDisabled {}

/// Why a machine was not frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeError {
    /// The calling thread is one that the operation would wait for. Nothing has happened.
    WouldDeadlock(WouldDeadlock),
    /// Hotplug is disabled, perhaps by another freeze. Nothing has happened.
    Disabled(HotplugDisabled),
    /// The CPU that is to stay is not active. Nothing has happened.
    NotActive(CpuId),
    /// The limit for ways down (`set_down_limit`) came while this was waited for.
    /// Nothing has happened.
    Late(Awaited),
    /// A CPU did not go, or was not seen off. Those that had gone are back.
    Down {
        /// The failure of the first of them. The log says it of all.
        error: CpuDownError,
        /// How many are not online any more: those that had gone and have failed to come back, and
        /// those that were not seen off, which are quarantined and were not called again.
        away: usize,
    },
}

impl FreezeError {
    /// Returns the errno for it.
    pub const fn errno(&self) -> Errno {
        match self {
            FreezeError::WouldDeadlock(_) => Errno::Deadlock,
            FreezeError::Disabled(_) => Errno::Busy,
            FreezeError::NotActive(_) => Errno::Invalid,
            FreezeError::Late(_) => Errno::TimedOut,
            FreezeError::Down { error, .. } => error.errno(),
        }
    }
}

impl fmt::Display for FreezeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FreezeError::WouldDeadlock(why) => {
                write!(f, "CPUs can not be frozen by a thread that {why}")
            }
            FreezeError::Disabled(why) => fmt::Display::fmt(why, f),
            FreezeError::NotActive(cpu) => write!(f, "CPU{cpu}, which is to stay, is not active"),
            FreezeError::Late(awaited) => write!(f, "CPUs can not be frozen: {awaited}"),
            FreezeError::Down { error, away: 0 } => fmt::Display::fmt(error, f),
            FreezeError::Down { error, away } => {
                write!(f, "{error}; {away} CPUs did not come back")
            }
        }
    }
}

impl core::error::Error for FreezeError {}

impl From<WouldDeadlock> for FreezeError {
    fn from(why: WouldDeadlock) -> Self {
        FreezeError::WouldDeadlock(why)
    }
}

impl From<HotplugDisabled> for FreezeError {
    fn from(why: HotplugDisabled) -> Self {
        FreezeError::Disabled(why)
    }
}

/// Why not all CPUs have come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThawError {
    /// The calling thread is one that the operation would wait for. Nothing has happened.
    WouldDeadlock(WouldDeadlock),
    /// Some CPUs did not come up. Hotplug is enabled all the same.
    Up {
        /// Why the first of them did not. The log says it of all.
        error: CpuUpError,
        /// How many did not.
        away: usize,
    },
}

impl ThawError {
    /// Returns the errno for it.
    pub const fn errno(&self) -> Errno {
        match self {
            ThawError::WouldDeadlock(_) => Errno::Deadlock,
            ThawError::Up { error, .. } => error.errno(),
        }
    }
}

impl fmt::Display for ThawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ThawError::WouldDeadlock(why) => {
                write!(f, "CPUs can not be thawed by a thread that {why}")
            }
            ThawError::Up { error, away } => write!(f, "{away} CPUs did not come back: {error}"),
        }
    }
}

impl core::error::Error for ThawError {}

impl From<WouldDeadlock> for ThawError {
    fn from(why: WouldDeadlock) -> Self {
        ThawError::WouldDeadlock(why)
    }
}

/// Hotplug is disabled while this exists.
#[must_use = "dropping it enables hotplug again"]
pub struct DisableGuard<P: HotplugHost>(PhantomData<fn() -> P>);

impl<P: HotplugHost> DisableGuard<P> {
    /// The caller has the add/remove lock (disabled-between-operations).
    fn new() -> Self {
        // Relaxed: the lock orders it before every later operation.
        P::hotplug().disabled.fetch_add(1, Ordering::Relaxed);
        DisableGuard(PhantomData)
    }
}

impl<P: HotplugHost> Drop for DisableGuard<P> {
    fn drop(&mut self) {
        // Relaxed: it guards no data. An operation that begins at the same time may be refused.
        P::hotplug().disabled.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A CPU that has gone, and how many rows were up before.
type Gone = (CpuId, usize);

/// All CPUs but one have gone. Dropping it thaws the machine.
#[must_use = "dropping it brings the CPUs back"]
pub struct Frozen<P: HotplugHost> {
    gone: Vec<Gone>,
    /// `None` once the machine is thawed.
    disabled: Option<DisableGuard<P>>,
}

impl<P: HotplugHost> Frozen<P> {
    /// Returns the CPUs that have gone and come back with a thaw.
    pub fn cpus(&self) -> CpuMask {
        self.gone.iter().map(|(cpu, _)| *cpu).collect()
    }

    /// Brings the CPUs back in one operation, each to the state that it had, and enables
    /// hotplug. Does nothing the second time.
    ///
    /// # Context
    /// As [`Hotplug::cpu_up`].
    ///
    /// # Errors
    /// [`ThawError`].
    pub fn thaw(&mut self) -> Result<(), ThawError> {
        if self.disabled.is_none() {
            return Ok(());
        }
        let hotplug = P::hotplug();
        let mut held = hotplug.begin_operation()?;
        self.disabled = None;
        let gone = core::mem::take(&mut self.gone);
        hotplug.bring_back(&gone, &mut held)
    }
}

impl<P: HotplugHost> Drop for Frozen<P> {
    fn drop(&mut self) {
        match self.thaw() {
            // The log says why a CPU did not come.
            Ok(()) | Err(ThawError::Up { .. }) => {}
            Err(ThawError::WouldDeadlock(why)) => panic!(
                "BUG: {:?} drops what has frozen the machine, so it {why}",
                P::sched().current()
            ),
        }
    }
}

impl<P: HotplugHost> Hotplug<P> {
    /// Disables hotplug until the guard is dropped: no operation is under way on return, and
    /// each that is begun fails at once. Guards are counted.
    ///
    /// # Context
    /// Thread, preemption on, not pinned; waits while a CPU comes or goes.
    ///
    /// # Errors
    /// [`WouldDeadlock`].
    pub fn disable(&'static self) -> Result<DisableGuard<P>, WouldDeadlock> {
        let _held = self.registration_lock()?;
        Ok(DisableGuard::new())
    }

    /// Returns an error if hotplug is disabled. For an operation that has begun.
    pub(super) fn refuse_if_disabled(&self) -> Result<(), HotplugDisabled> {
        // Relaxed: see `DisableGuard`.
        match self.disabled.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(HotplugDisabled),
        }
    }

    /// Takes all online CPUs but `stays` down, as a batch, and disables hotplug until the returned
    /// value is thawed or dropped. If one doesn't go, those that have gone come back, except those
    /// that are quarantined because they weren't seen off: to call one again is the caller's
    /// choice, as after [`Hotplug::cpu_down`]. The limit for ways down counts from the call.
    ///
    /// # Context
    /// As [`Hotplug::cpu_down`].
    ///
    /// # Errors
    /// [`FreezeError`].
    pub fn freeze(&'static self, stays: CpuId) -> Result<Frozen<P>, FreezeError> {
        let deadline = self.down_deadline();
        let begun = self.begin_operation_until(deadline)?;
        let mut held = begun.map_err(FreezeError::Late)?;
        self.refuse_if_disabled()?;
        if !P::masks().possible().contains(stays) || !P::masks().is_active(stays) {
            return Err(FreezeError::NotActive(stays));
        }
        let others = P::masks().online().without(&CpuMask::of(stays));
        let before = others.iter().map(|cpu| (cpu, self.state(cpu).state()));
        let mut gone: Vec<Gone> = before.collect();
        let went = self.go_down_together(&others, deadline, &mut held);
        held.take_cpus_again(&self.lock);
        if let Err(failed) = went {
            for (_, error) in failed.failed() {
                log::error!("freeze: {error} ({})", error.errno().name());
            }
            let (_, error) = failed.failed()[0];
            let not_seen_off = failed.cpus().without(&P::masks().online()).count();
            gone.retain(|(cpu, _)| failed.of(*cpu).is_none());
            let not_back = match self.bring_back(&gone, &mut held) {
                Err(ThawError::Up { away, .. }) => away,
                Ok(()) | Err(ThawError::WouldDeadlock(_)) => 0,
            };
            let away = not_seen_off + not_back;
            return Err(FreezeError::Down { error, away });
        }
        Ok(Frozen {
            gone,
            disabled: Some(DisableGuard::new()),
        })
    }

    /// Brings CPUs that have gone back to where they were. At the end it may have released the
    /// hotplug lock.
    ///
    /// # Errors
    /// [`ThawError::Up`]; all others are back.
    fn bring_back(
        &'static self,
        gone: &[Gone],
        held: &mut Operation<'_, P>,
    ) -> Result<(), ThawError> {
        let wanted: Vec<_> = gone
            .iter()
            .map(|&(cpu, up)| {
                // The step where it rested may be removed by now.
                let target = if self.may_rest(up) { up } else { ALL_UP };
                (cpu, target)
            })
            .collect();
        let mut failures = Failures::new();
        self.go_up_together(&wanted, &mut failures, held);
        let Err(failed) = failures.into_result() else {
            return Ok(());
        };
        for (_, error) in failed.failed() {
            log::error!("{error} ({})", error.errno().name());
        }
        let (_, error) = failed.failed()[0];
        let away = failed.failed().len();
        Err(ThawError::Up { error, away })
    }
}
