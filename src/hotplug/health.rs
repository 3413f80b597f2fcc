//! What is known of a CPU between two operations, and what is not.

use core::fmt;

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::{ALL_UP, ApRefusal, Hotplug, HotplugHost, SyncState, UP_TO_POST_DEAD};
use crate::platform::{PowerState, PsciError};

/// Why it is not known whether a CPU is off. Its memory stays its own until that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quarantine {
    /// It was started, and has not said ALIVE; it may still come.
    NeverArrived,
    /// It was told to leave, and has not said DEAD: what its handshake says instead.
    NotDead(SyncState),
    /// It has said DEAD or has refused itself, and firmware doesn't say OFF; with what
    /// firmware answered to CPU_OFF, if the CPU has told.
    NotOff(Option<PsciError>),
}

impl Quarantine {
    /// Returns the quarantine of a CPU whose handshake says `word` where it should say DEAD.
    pub(super) const fn not_dead(word: SyncState) -> Quarantine {
        match word {
            SyncState::Cancelled => Quarantine::NeverArrived,
            other => Quarantine::NotDead(other),
        }
    }
}

impl fmt::Display for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quarantine::NeverArrived => f.write_str("it was started and never arrived"),
            Quarantine::NotDead(state) => {
                write!(f, "it has not said DEAD, its handshake is {}", state.name())
            }
            Quarantine::NotOff(None) => f.write_str("firmware does not say OFF"),
            Quarantine::NotOff(Some(error)) => {
                write!(f, "firmware has answered CPU_OFF with {error}")
            }
        }
    }
}

/// Why a CPU that is offline waits in the parking pen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// No firmware turns it off: it was started by a spin-table.
    NoFirmware,
    /// CPU_OFF returned, with this error.
    Refused(PsciError),
}

impl fmt::Display for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Parked::NoFirmware => f.write_str("no firmware turns it off"),
            Parked::Refused(error) => write!(f, "firmware has answered CPU_OFF with {error}"),
        }
    }
}

/// The state of a CPU, as [`Hotplug::health`] finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuHealth {
    /// All steps are up.
    Online,
    /// This many steps are up: an operation is under way, or the CPU was moved there, or an
    /// operation has failed and could not be undone. It can be taken on, up or down.
    HalfWay(usize),
    /// Off, as firmware has confirmed. It can be brought up.
    Off,
    /// In the parking pen, not powered off. It can be brought up.
    Parked(Parked),
    /// It refused itself, and is off or parked. It may be tried again.
    Failed(ApRefusal),
    /// Firmware refused to start it when that was last asked. It is off, and may be tried again.
    Refused(PsciError),
    /// Unknown: it is quarantined.
    Unknown(Quarantine),
}

impl<P: HotplugHost> Hotplug<P> {
    /// Returns the state of `cpu` at the time of the call, not at the end of the last
    /// operation: a quarantined CPU that has gone off since is off.
    ///
    /// # Context
    /// Thread; asks firmware. For an answer that lasts the caller holds the hotplug lock.
    pub fn health(&self, cpu: CpuId) -> CpuHealth {
        match self.state(cpu).state() {
            ALL_UP => return CpuHealth::Online,
            // Up to there a CPU that goes is off already.
            0..=UP_TO_POST_DEAD => {}
            up => return CpuHealth::HalfWay(up),
        }
        let word = self.handshake(cpu).state();
        let refusal = self.refusal(cpu);
        let left = match word {
            SyncState::Dead => true,
            SyncState::Cancelled => refusal.is_some(),
            _ => false,
        };
        let quarantine = self.quarantine(cpu);
        // Without a quarantine OFF has been seen, or the CPU was never started.
        if left && (quarantine.is_none() || P::power_state(cpu) == Ok(PowerState::Off)) {
            return match (refusal, self.on_refused(cpu), P::parked(cpu)) {
                (Some(refusal), ..) => CpuHealth::Failed(refusal),
                (None, Some(error), _) => CpuHealth::Refused(error),
                (None, None, Some(parked)) => CpuHealth::Parked(parked),
                (None, None, None) => CpuHealth::Off,
            };
        }
        CpuHealth::Unknown(if left {
            Quarantine::NotOff(P::off_refused(cpu))
        } else {
            Quarantine::not_dead(word)
        })
    }

    /// Returns the CPUs that the machine has and that can be brought up, at the time of the
    /// call: not those that are quarantined, and not those of which firmware says that there is
    /// no such CPU. One of these comes back by [`Hotplug::cpu_up`] or [`Hotplug::cpu_down`].
    ///
    /// # Context
    /// As [`Hotplug::health`].
    pub fn present(&self) -> CpuMask {
        let is_there = |cpu: &CpuId| {
            !matches!(
                self.health(*cpu),
                CpuHealth::Unknown(_)
                    | CpuHealth::Refused(PsciError::InvalidParameters | PsciError::NotPresent)
            )
        };
        P::masks().possible().iter().filter(is_there).collect()
    }

    fn on_refused(&self, cpu: CpuId) -> Option<PsciError> {
        *self.cpus.get(cpu).on_refused.lock()
    }

    /// Returns why `cpu` was not known to be off when the last operation on it ended.
    pub(super) fn quarantine(&self, cpu: CpuId) -> Option<Quarantine> {
        *self.cpus.get(cpu).quarantine.lock()
    }
}
