//! Targets: a CPU is moved to a step and rests there, with the steps up to it up and no other.
//!
//! A CPU *rests* where nothing waits for it and it waits for nothing. That is offline, or
//! online with `init:online` as the last step that is up, or a later one. Elsewhere it can't:
//! - below `prep:hardware` it is off, and what `prep:post-dead` has to do is done before the
//!   next operation begins;
//! - from there to `sync:timers` it has been called, and sleeps until control decides;
//! - in INIT it has its IRQs off.
//!
//! A CPU at rest half way is online: it takes interrupts and calls, is in each still point, and
//! holds off grace periods. It isn't active, unless all steps are up: no ordinary thread is
//! placed there. A step that is installed is called on it if its slot is below the place of
//! rest. The next operation takes it on from there.
//!
//! # Sources
//! Linux: `/sys/devices/system/cpu/cpuN/hotplug/{state,target}`, and `cpu/hotplug/states` for
//! the numbers.

use core::fmt;

use crate::cpu::{CpuId, CpuMask};
use crate::errno::Errno;
use crate::hotplug::{
    ALL_UP, CpuDownError, CpuUpError, Hotplug, HotplugDisabled, HotplugHost, SlotRows, StepName,
    UP_TO_ONLINE,
};
use crate::sched::lock::WouldDeadlock;
use crate::time::Instant;

/// The number of the state *online*, in which all steps are up. `offline` is 0, and step number
/// `row` of the table is `row + 1`.
pub const ONLINE: usize = ALL_UP + 1;

/// A state in which a CPU may rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestingPlace {
    /// Its number.
    pub state: usize,
    /// The last step that is up there; `offline` and `online` at the two ends.
    pub name: StepName,
}

/// Why a CPU isn't where it was to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// The machine has no CPU of this number.
    NoSuchCpu(usize),
    /// The calling thread is one that the operation would wait for. Nothing has happened.
    WouldDeadlock(WouldDeadlock),
    /// Hotplug is disabled. Nothing has happened.
    Disabled(HotplugDisabled),
    /// No CPU may rest in the state of this number, or there is none. Nothing has happened.
    NoRestingPlace(usize),
    /// The CPU was to go up.
    Up(CpuUpError),
    /// The CPU was to go down.
    Down(CpuDownError),
}

impl TargetError {
    /// Returns the errno for it.
    pub const fn errno(&self) -> Errno {
        match self {
            TargetError::NoSuchCpu(_) | TargetError::NoRestingPlace(_) => Errno::Invalid,
            TargetError::WouldDeadlock(_) => Errno::Deadlock,
            TargetError::Disabled(_) => Errno::Busy,
            TargetError::Up(error) => error.errno(),
            TargetError::Down(error) => error.errno(),
        }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::NoSuchCpu(number) => write!(f, "CPU {number} does not exist"),
            TargetError::WouldDeadlock(why) => {
                write!(f, "a CPU can not be moved by a thread that {why}")
            }
            TargetError::Disabled(why) => fmt::Display::fmt(why, f),
            TargetError::NoRestingPlace(state) => {
                write!(f, "state {state} is none in which a CPU can rest")
            }
            TargetError::Up(error) => fmt::Display::fmt(error, f),
            TargetError::Down(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl core::error::Error for TargetError {}

impl From<WouldDeadlock> for TargetError {
    fn from(why: WouldDeadlock) -> Self {
        TargetError::WouldDeadlock(why)
    }
}

impl From<HotplugDisabled> for TargetError {
    fn from(why: HotplugDisabled) -> Self {
        TargetError::Disabled(why)
    }
}

/// Returns the number of the state in which `up` rows are up.
pub const fn state_number(up: usize) -> usize {
    if up == ALL_UP { ONLINE } else { up }
}

impl<P: HotplugHost> Hotplug<P> {
    /// Moves `cpu` to the state of number `state`, up or down, and leaves it there. Does
    /// nothing if it is there. The number of the last step means *online*, as [`ONLINE`] does. The
    /// limit for ways down ([`Hotplug::set_down_limit`]) counts from the call.
    ///
    /// # Context
    /// As [`Hotplug::cpu_up`] and [`Hotplug::cpu_down`].
    ///
    /// # Errors
    /// [`TargetError`]. Unless it says otherwise the CPU is as it was before.
    pub fn cpu_set_target(&'static self, cpu: CpuId, state: usize) -> Result<(), TargetError> {
        let deadline = self.down_deadline();
        // Whether it is a way down shows when the locks are held. A CPU that is above its target
        // now, and not any more then, was moved by another operation: the limit was right until
        // then.
        let possible = P::masks().possible();
        let is_above = possible.contains(cpu) && self.state(cpu).state() > state.min(ALL_UP);
        let until = if is_above { deadline } else { Instant::FOREVER };
        let begun = self.begin_operation_until(until)?;
        let mut held = begun.map_err(|awaited| {
            let late = CpuDownError::Late { cpu, awaited };
            TargetError::Down(late)
        })?;
        self.refuse_if_disabled()?;
        if !P::masks().possible().contains(cpu) {
            return Err(TargetError::NoSuchCpu(cpu.index()));
        }
        let target = state.min(ALL_UP);
        if state > ONLINE || !self.may_rest(target) {
            return Err(TargetError::NoRestingPlace(state));
        }
        self.governed.claim(&CpuMask::of(cpu));
        let now = self.state(cpu);
        let up = now.state();
        // Of the last step perhaps only some instances are up: the others follow.
        if target > up || target == up && now.is_within() {
            let moved = self.go_up_to(cpu, target, &mut held);
            moved.map_err(TargetError::Up)
        } else if target < up || target == 0 {
            // At 0 it may be quarantined.
            let moved = self.go_down_to(cpu, target, deadline, &mut held);
            moved.map_err(TargetError::Down)
        } else {
            Ok(())
        }
    }

    /// Returns whether a CPU may rest with `up` rows up. No slot may change meanwhile, for an
    /// answer that lasts.
    pub fn may_rest(&self, up: usize) -> bool {
        match up {
            0 => true,
            UP_TO_ONLINE..=ALL_UP => self.slots.stop_below(up) == Some(up - 1),
            _ => false,
        }
    }

    /// Returns the states in which a CPU may rest, from `offline` to `online`.
    ///
    /// # Context
    /// Thread. A step may be installed or removed meanwhile, unless the caller holds the lock
    /// of the CPUs.
    pub fn resting_places(&self) -> impl Iterator<Item = RestingPlace> + '_ {
        let places = (0..=ALL_UP).filter(|up| self.may_rest(*up));
        places.map(|up| RestingPlace {
            state: state_number(up),
            name: match up {
                0 => StepName::from("offline"),
                ALL_UP => StepName::from("online"),
                up => self.step_name(up - 1),
            },
        })
    }
}
