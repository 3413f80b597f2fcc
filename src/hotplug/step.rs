//! A step of the state table: a name, and a startup and a teardown.

use crate::hotplug::StepError;

/// Which group of the table a step belongs to; the order is the table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Before the CPU runs: may sleep, may fail.
    Prep,
    /// Where the two CPUs meet.
    Sync,
    /// On the CPU itself, IRQs off: may neither sleep nor fail, and takes no lock that
    /// another CPU holds for long: `short-locks-until-online` in `src/hotplug/ap.rs`.
    Init,
    /// Threads of the CPU, and its place in the scheduler.
    Sched,
}

impl Group {
    /// Returns which CPU runs the steps of this group.
    pub const fn runs_on(self) -> RunsOn {
        match self {
            Group::Prep => RunsOn::Control,
            Group::Sync => RunsOn::Both,
            Group::Init | Group::Sched => RunsOn::Ap,
        }
    }
}

/// Which CPU runs a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsOn {
    /// The CPU that runs the operation.
    Control,
    /// The CPU that comes or goes: with IRQs off, or in its `cpuhp` thread.
    Ap,
    /// One of them runs it for both: control while the AP is not online (`sync:alive`,
    /// `sync:timers`), the AP's `cpuhp` thread when it is (`sync:active`).
    Both,
}

/// One side of a step. That a side can't fail is its type, not a comment.
pub enum Side<C> {
    /// May fail; then nothing is left that its teardown would have to undo. What is left is
    /// kept for the next time, as threads are that were created before one failed, or is
    /// remembered, as a CPU that never arrived is by its quarantine.
    Fallible(fn(&C) -> Result<(), StepError>),
    /// Can't fail.
    Infallible(fn(&C)),
    /// There is nothing to do, and this is why.
    Nothing(&'static str),
}

impl<C> Side<C> {
    /// Returns whether it may fail, and so whether a failure may be injected.
    pub const fn may_fail(&self) -> bool {
        matches!(self, Side::Fallible(_))
    }

    /// Returns why there is nothing to do on this side, if there is nothing.
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Side::Nothing(reason) => Some(reason),
            _ => None,
        }
    }

    /// Runs this side.
    ///
    /// # Errors
    /// The error of a side that may fail.
    pub fn run(&self, context: &C) -> Result<(), StepError> {
        match self {
            Side::Fallible(call_fn) => call_fn(context),
            Side::Infallible(call_fn) => {
                call_fn(context);
                Ok(())
            }
            Side::Nothing(_) => Ok(()),
        }
    }
}

/// A step of the table.
pub struct Step<C> {
    /// `group:name`.
    pub name: &'static str,
    /// Its group, which says where it runs.
    pub group: Group,
    /// On the way up.
    pub startup: Side<C>,
    /// On the way down; the inverse of `startup`.
    pub teardown: Side<C>,
}

/// What a callback is told.
#[derive(Clone, Copy, Debug)]
pub struct StepContext {
    /// The CPU that comes or goes.
    pub cpu: crate::cpu::CpuId,
}
