//! A step of the state table: a name, and a startup and a teardown.

use crate::cpu::CpuId;
use crate::hotplug::StepError;
use crate::time::Instant;

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
    /// Facilities of the CPU, in its `cpuhp` thread: may sleep, may fail, and may refuse the
    /// way down.
    Enable,
}

impl Group {
    /// Returns which CPU runs the steps of this group.
    pub const fn runs_on(self) -> RunsOn {
        match self {
            Group::Prep => RunsOn::Control,
            Group::Sync => RunsOn::Both,
            Group::Init | Group::Sched | Group::Enable => RunsOn::Ap,
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
    /// The row is a slot: what is done is that of the step that is installed there, if any
    /// ([`Slots`](crate::hotplug::Slots)).
    Slot,
}

// By hand, because a derived one would ask for `C: Copy`.
impl<C> Clone for Side<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Side<C> {}

impl<C> Side<C> {
    /// Returns whether it may fail, and so whether a failure may be injected. A slot's side
    /// can't: the step in it is asked.
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
    ///
    /// # Panics
    /// If this is the side of a slot.
    #[inline]
    pub fn run(&self, context: &C) -> Result<(), StepError> {
        match self {
            Side::Fallible(call_fn) => call_fn(context),
            Side::Infallible(call_fn) => {
                call_fn(context);
                Ok(())
            }
            Side::Nothing(_) => Ok(()),
            Side::Slot => panic!("BUG: a slot has no callback of its own"),
        }
    }
}

/// A row of the table: a step, or a slot for one.
pub struct Step<C> {
    /// `group:name`; the slots of a group have one name.
    pub name: &'static str,
    /// Its group, which says where it runs.
    pub group: Group,
    /// On the way up.
    pub startup: Side<C>,
    /// On the way down; the inverse of `startup`.
    pub teardown: Side<C>,
}

impl<C> Clone for Step<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Step<C> {}

impl<C> Step<C> {
    /// Returns a slot of `group`.
    pub const fn slot(name: &'static str, group: Group) -> Step<C> {
        Step {
            name,
            group,
            startup: Side::Slot,
            teardown: Side::Slot,
        }
    }

    /// Returns whether the row is a slot.
    pub const fn is_slot(&self) -> bool {
        matches!(self.startup, Side::Slot)
    }
}

/// What a callback is told.
#[derive(Clone, Copy, Debug)]
pub struct StepContext {
    /// The CPU that comes or goes.
    pub cpu: CpuId,
    /// Until when a side that waits may do so, if it can fail. Then it fails, and says what it
    /// has waited for. The startup of `sync:alive` has a limit of its own if there is none here.
    pub until: Instant,
    /// Whether the CPU goes as one of a batch: control waits once for all CPUs of the batch,
    /// where a step would wait for each.
    pub in_batch: bool,
    /// Until when firmware may say OFF of the CPU, if that goes with others: control has waited
    /// for its DEAD already, and the limit for OFF is one for all of them.
    pub off_by: Option<Instant>,
    /// Whether control calls the CPU later than in `prep:hardware`, which only gets all ready
    /// for it then.
    pub called_late: bool,
}

impl StepContext {
    /// Returns the context of a walk of `cpu` that has no deadline.
    pub const fn of(cpu: CpuId) -> StepContext {
        StepContext {
            cpu,
            until: Instant::FOREVER,
            in_batch: false,
            off_by: None,
            called_late: false,
        }
    }
}
