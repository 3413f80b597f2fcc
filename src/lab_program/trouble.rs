//! Why a lab could not be run to its end.

use alloc::string::String;
use core::fmt;

use crate::api::Errno;
use crate::api::cpu::{CallError, CpuMask};
use crate::api::hotplug::{CpuDownError, CpuUpError, InstallError};
use crate::api::shell::CommandError;
use crate::api::stop::StopError;
use crate::api::thread::SpawnError;

/// Why a lab could not be run to its end.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// Ctrl-C was typed.
    Interrupted,
    /// Only these CPUs are online.
    FewCpus(CpuMask),
    /// A thread could not be started.
    Spawn(SpawnError),
    /// A CPU did not come up.
    Up(CpuUpError),
    /// A CPU did not go down.
    Down(CpuDownError),
    /// A CPU was not called.
    Call(CallError),
    /// A step was not installed.
    Install(InstallError),
    /// A stop was given up.
    Stop(StopError),
    /// A thread has waited in vain: which, and for what.
    Stuck(String),
    /// The text could not be printed.
    Print,
}

impl Trouble {
    fn errno(&self) -> Errno {
        match self {
            Trouble::Interrupted => Errno::Canceled,
            Trouble::FewCpus(_) => Errno::NotSupported,
            Trouble::Spawn(_) => Errno::Again,
            Trouble::Up(error) => error.errno(),
            Trouble::Down(error) => error.errno(),
            Trouble::Call(_) => Errno::NoDevice,
            Trouble::Install(error) => error.errno(),
            Trouble::Stop(_) | Trouble::Stuck(_) => Errno::TimedOut,
            Trouble::Print => Errno::Io,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Interrupted => f.write_str("interrupted"),
            Trouble::FewCpus(online) => {
                write!(f, "a race needs two CPUs online, and only {online} is")
            }
            Trouble::Spawn(error) => fmt::Display::fmt(error, f),
            Trouble::Up(error) => fmt::Display::fmt(error, f),
            Trouble::Down(error) => fmt::Display::fmt(error, f),
            Trouble::Call(error) => fmt::Display::fmt(error, f),
            Trouble::Install(error) => fmt::Display::fmt(error, f),
            Trouble::Stop(error) => fmt::Display::fmt(error, f),
            Trouble::Stuck(how) => f.write_str(how),
            Trouble::Print => f.write_str("an error in printing"),
        }
    }
}

impl From<Trouble> for CommandError {
    fn from(trouble: Trouble) -> CommandError {
        CommandError::new(trouble.errno(), trouble)
    }
}

impl From<fmt::Error> for Trouble {
    fn from(_: fmt::Error) -> Trouble {
        Trouble::Print
    }
}
