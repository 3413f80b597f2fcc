//! Why the governor was not chosen, or CPUs are not as it wants them.

use core::fmt;

use crate::errno::Errno;
use crate::governor::{Governor, TunablesError};
use crate::hotplug::{BatchError, CpuDownError, CpuUpError};
use crate::patch::KeyError;
use crate::sched::SpawnError;
use crate::sched::lock::WouldDeadlock;
use crate::trace::NoMemory;

/// Why a function of the governor has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GovernorError {
    /// The calling thread is one for which an operation of hotplug would wait. Nothing has
    /// changed.
    WouldDeadlock(WouldDeadlock),
    /// The code that counts waits was not changed. Nothing has changed.
    Key(KeyError),
    /// The governor's thread was not started. Nothing has changed.
    Thread(SpawnError),
    /// There is no memory for its trace ring. Nothing has changed.
    NoMemory,
    /// A setting is out of its range. Nothing has changed.
    Tunables(TunablesError),
    /// A number of CPUs was asked for, and this governor doesn't take one. Nothing has changed.
    NotUserspace(Governor),
    /// A number of CPUs was asked for that is below the floor or above the ceiling. Nothing has
    /// changed.
    NoSuchCount(usize),
    /// CPUs did not come; others that were to come have.
    Up(BatchError<CpuUpError>),
    /// CPUs did not go; others that were to go have.
    Down(BatchError<CpuDownError>),
    /// Fewer CPUs are online than were asked for: the others are not the governor's to bring up,
    /// because they were taken down by hand, or by `maxcpus=`.
    Short {
        /// How many were asked for.
        wanted: usize,
        /// How many there are.
        online: usize,
    },
}

impl GovernorError {
    /// Returns the errno for it.
    pub fn errno(&self) -> Errno {
        match self {
            GovernorError::WouldDeadlock(_) | GovernorError::Key(KeyError::WouldDeadlock) => {
                Errno::Deadlock
            }
            GovernorError::Key(error) => error.errno(),
            GovernorError::Thread(_) | GovernorError::NoMemory => Errno::NoMemory,
            GovernorError::Tunables(_)
            | GovernorError::NotUserspace(_)
            | GovernorError::NoSuchCount(_) => Errno::Invalid,
            GovernorError::Up(error) => error.errno(),
            GovernorError::Down(error) => error.errno(),
            GovernorError::Short { .. } => Errno::Busy,
        }
    }
}

impl fmt::Display for GovernorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GovernorError::WouldDeadlock(why) => {
                write!(f, "a thread that {why} can not wait for the governor")
            }
            GovernorError::Key(why) => fmt::Display::fmt(why, f),
            GovernorError::Thread(why) => fmt::Display::fmt(why, f),
            GovernorError::NoMemory => f.write_str("there is no memory for its trace ring"),
            GovernorError::Tunables(why) => fmt::Display::fmt(why, f),
            GovernorError::NotUserspace(governor) => {
                let name = governor.name();
                write!(f, "the governor is {name}, which takes no number of CPUs")
            }
            GovernorError::NoSuchCount(count) => {
                write!(f, "{count} CPUs are below the floor or above the ceiling")
            }
            GovernorError::Up(why) => fmt::Display::fmt(why, f),
            GovernorError::Down(why) => fmt::Display::fmt(why, f),
            GovernorError::Short { wanted, online } => {
                write!(
                    f,
                    "{online} CPUs are online, not {wanted}: the governor brings up only CPUs \
                     that it has taken down"
                )
            }
        }
    }
}

impl core::error::Error for GovernorError {}

impl From<WouldDeadlock> for GovernorError {
    fn from(why: WouldDeadlock) -> Self {
        GovernorError::WouldDeadlock(why)
    }
}

impl From<KeyError> for GovernorError {
    fn from(why: KeyError) -> Self {
        GovernorError::Key(why)
    }
}

impl From<SpawnError> for GovernorError {
    fn from(why: SpawnError) -> Self {
        GovernorError::Thread(why)
    }
}

impl From<NoMemory> for GovernorError {
    fn from(_: NoMemory) -> Self {
        GovernorError::NoMemory
    }
}

impl From<TunablesError> for GovernorError {
    fn from(why: TunablesError) -> Self {
        GovernorError::Tunables(why)
    }
}
