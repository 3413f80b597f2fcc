//! What a step that was installed does: its callbacks, and which CPUs are past them.

use alloc::boxed::Box;
use core::fmt;
use core::ops::Range;

use crate::cpu::CpuId;
use crate::errno::Errno;
use crate::hotplug::passages::Passages;
use crate::hotplug::{CpuhpState, StepError, StepName, slots_of};
use crate::smp::call::Inside;
use crate::stop_machine::StopHost;
use crate::trace::Direction;

/// Where a step may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before all else: the teardown runs on the control CPU when the hotplug lock has been
    /// released. No other operation begins until it has returned.
    PostDead,
    /// After the kernel's own preparations: on the control CPU, on behalf of the CPU that is
    /// not running yet, or no longer.
    Prep,
    /// Last in INIT but for the stopper: on the CPU itself before it is online, and in the still
    /// point that takes it away. IRQs are masked.
    Init,
    /// In the thread `cpuhp/N` of the CPU, before ordinary threads come and after they have
    /// gone.
    Enable,
}

impl Place {
    /// Returns the rows of the table for it.
    pub const fn rows(self) -> Range<usize> {
        slots_of(self)
    }

    /// Returns the name of a step `name` that is installed there.
    pub(super) const fn name_of(self, name: &'static str) -> StepName {
        let group = match self {
            Place::PostDead | Place::Prep => "prep",
            Place::Init => "init",
            Place::Enable => "enable",
        };
        StepName::new(group, name)
    }
}

/// A callback that may fail.
pub type FallibleFn = Box<dyn Fn(CpuId) -> Result<(), Errno> + Send + Sync>;
/// A callback of the kernel that may fail.
pub type OwnFn = Box<dyn Fn(CpuId) -> Result<(), StepError> + Send + Sync>;
/// A callback that can't fail.
pub type InfallibleFn = Box<dyn Fn(CpuId) + Send + Sync>;

/// One side of a step. That it can't fail is its type.
#[derive(Default)]
pub enum Callback {
    /// There is nothing to do. The step is passed all the same.
    #[default]
    Nothing,
    /// May fail; then nothing is left that the other side would have to undo.
    Fallible(FallibleFn),
    /// Can't fail.
    Infallible(InfallibleFn),
    /// Is the kernel's own. A failure is injected into its row, not into the instance.
    Own(OwnFn),
}

impl Callback {
    pub(super) const fn may_fail(&self) -> bool {
        matches!(self, Callback::Fallible(_))
    }

    fn call(&self, cpu: CpuId) -> Result<(), StepError> {
        match self {
            Callback::Nothing => Ok(()),
            Callback::Fallible(call_fn) => call_fn(cpu).map_err(StepError::Refused),
            Callback::Infallible(call_fn) => {
                call_fn(cpu);
                Ok(())
            }
            Callback::Own(call_fn) => call_fn(cpu),
        }
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Callback::Nothing => "Nothing",
            Callback::Fallible(_) => "Fallible",
            Callback::Infallible(_) => "Infallible",
            Callback::Own(_) => "Own",
        })
    }
}

/// The two sides of a step, or of an instance of one.
#[derive(Debug, Default)]
pub struct Callbacks {
    pub(super) startup: Callback,
    pub(super) teardown: Callback,
    /// Whether the startup stops the machine, in [`Place::Init`].
    pub(super) stops_machine: bool,
}

impl Callbacks {
    /// Returns the callbacks of a step in [`Place::PostDead`].
    pub const fn post_dead(teardown: InfallibleFn) -> Callbacks {
        Callbacks {
            startup: Callback::Nothing,
            teardown: Callback::Infallible(teardown),
            stops_machine: false,
        }
    }

    /// Returns the callbacks of a step in [`Place::Prep`].
    pub fn prep(startup: Option<FallibleFn>, teardown: Option<InfallibleFn>) -> Callbacks {
        Callbacks {
            startup: startup.map_or(Callback::Nothing, Callback::Fallible),
            teardown: teardown.map_or(Callback::Nothing, Callback::Infallible),
            stops_machine: false,
        }
    }

    /// Returns the callbacks of a step in [`Place::Init`], whose startup stops the machine if
    /// `stops_machine` says so.
    pub fn init<P: StopHost>(
        startup: Option<InfallibleFn>,
        teardown: Option<InfallibleFn>,
        stops_machine: bool,
    ) -> Callbacks {
        let start = |start_fn: InfallibleFn| -> InfallibleFn {
            Box::new(move |cpu| {
                let start_fn = || start_fn(cpu);
                P::calls().run_inside(cpu, Inside::InitStep, || {
                    if stops_machine {
                        P::stop_machine().declare(cpu, start_fn);
                    } else {
                        start_fn();
                    }
                });
            })
        };
        Callbacks {
            startup: startup
                .map(start)
                .map_or(Callback::Nothing, Callback::Infallible),
            teardown: teardown.map_or(Callback::Nothing, Callback::Infallible),
            stops_machine,
        }
    }

    /// Returns the callbacks of a step in [`Place::Enable`].
    pub fn enable(startup: Option<FallibleFn>, teardown: Option<FallibleFn>) -> Callbacks {
        Callbacks {
            startup: startup.map_or(Callback::Nothing, Callback::Fallible),
            teardown: teardown.map_or(Callback::Nothing, Callback::Fallible),
            stops_machine: false,
        }
    }

    fn side(&self, direction: Direction) -> &Callback {
        match direction {
            Direction::Up => &self.startup,
            Direction::Down => &self.teardown,
        }
    }
}

/// Callbacks that are installed, with their passages by each CPU. A plain step has one
/// instance, a multi-instance step any number.
pub(super) struct Instance {
    callbacks: Callbacks,
    passages: Box<[Passages]>,
}

impl Instance {
    /// Returns an instance that no CPU of `cpus` CPUs is past.
    pub(super) fn new(callbacks: Callbacks, cpus: usize) -> Instance {
        Instance {
            callbacks,
            passages: (0..cpus).map(|_| Passages::default()).collect(),
        }
    }

    /// Returns whether `cpu` is past this instance.
    pub(super) fn is_up(&self, cpu: CpuId) -> bool {
        self.of(cpu).is_up()
    }

    /// Returns how often `cpu` has passed it up, and how often down.
    pub(super) fn passages(&self, cpu: CpuId) -> (u32, u32) {
        self.of(cpu).get()
    }

    /// Returns whether its side in `direction` may fail.
    pub(super) fn may_fail(&self, direction: Direction) -> bool {
        self.callbacks.side(direction).may_fail()
    }

    /// Returns whether its startup stops the machine.
    pub(super) fn stops_machine(&self) -> bool {
        self.callbacks.stops_machine
    }

    /// Returns whether there is something to do in `direction`.
    pub(super) fn does(&self, direction: Direction) -> bool {
        !matches!(self.callbacks.side(direction), Callback::Nothing)
    }

    /// Counts a passage without the callback.
    pub(super) fn skip(&self, cpu: CpuId, direction: Direction) {
        self.of(cpu).count(direction);
    }

    /// Has `cpu` pass this instance, which is number `number` of `row`.
    ///
    /// # Errors
    /// The callback's error, or an injected one. The instance counts as not passed then.
    pub(super) fn pass(
        &self,
        cpu: CpuId,
        direction: Direction,
        state: &CpuhpState,
        (row, number): (usize, usize),
    ) -> Result<(), StepError> {
        let side = self.callbacks.side(direction);
        if side.may_fail() && state.take_injected(row, number) {
            return Err(StepError::Injected);
        }
        side.call(cpu)?;
        self.of(cpu).count(direction);
        Ok(())
    }

    fn of(&self, cpu: CpuId) -> &Passages {
        &self.passages[cpu.index()]
    }
}
