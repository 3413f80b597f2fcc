//! Plays [`crate::lab::y2014`]: a driver that wants to be told of each CPU, while one comes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::api::cpu::{self, CpuId, CpuMask};
use crate::api::hotplug::{self, EnableStep, PrepareStep, Step};
use crate::api::sync::SpinLock;
use crate::api::thread::Class;
use crate::lab::y2014::{Cast, Count, Play};
use crate::lab::{Act, Then};
use crate::lab_program::cpus::Cpus;
use crate::lab_program::stage::Stage;
use crate::lab_program::trouble::Trouble;
use crate::lab_program::turns::{GivenUp, Lock, Signal, Sleeper, Turns};
use crate::lab_program::{Console, Show};

/// The lock that each operation of hotplug took, and each registration.
const ADD_REMOVE: Lock = Lock(0);
/// The driver is to give way.
const GIVE_WAY: Signal = Signal(0);
const DRIVER: Sleeper = Sleeper(0);
const ADMIN: Sleeper = Sleeper(1);

/// What the threads of an act and the callbacks of its steps share.
struct Shared {
    cast: Cast,
    play: Play,
    turns: Arc<Turns>,
    /// How many buffers each CPU has got, and has given back.
    buffers: SpinLock<Vec<(usize, usize)>>,
    /// Whether the driver's notifier is in the chain.
    registered: SpinLock<bool>,
    /// Whether two threads were seen to wait for each other.
    deadlock: SpinLock<bool>,
}

/// The step that the driver has installed. No callback of it has this, so that it can be dropped.
type Installed = Arc<SpinLock<Option<Step>>>;

/// Plays all acts.
///
/// # Errors
/// [`Trouble`].
pub(super) fn run(seed: u64, console: &mut dyn Console, show: Show<'_>) -> Result<(), Trouble> {
    let cpus = Cpus::online();
    let cast = Cast::choose(seed, &cpus.before()).ok_or(Trouble::FewCpus(cpus.before()))?;
    for play in Play::ALL {
        cpus.have(cast.moving, play.goes())?;
        let act = act(cast, play, &cpus, console)?;
        show(console, act)?;
    }
    Ok(())
}

/// Plays one act.
fn act(cast: Cast, play: Play, cpus: &Cpus, console: &dyn Console) -> Result<Act, Trouble> {
    let mut stage = Stage::new();
    let shared = Arc::new(Shared {
        cast,
        play,
        turns: stage.turns(),
        buffers: SpinLock::new(alloc::vec![(0, 0); cpu::possible().count()]),
        registered: SpinLock::new(false),
        deadlock: SpinLock::new(false),
    });
    let installed = Installed::new(SpinLock::new(None));
    if play.goes() {
        let step = shared.driver_step().install();
        *installed.lock() = Some(step.map_err(Trouble::Install)?);
    }
    let prepared = shared.prepared().install_nocalls();
    let prepared = prepared.map_err(Trouble::Install)?;
    let (theirs, step) = (Arc::clone(&shared), Arc::clone(&installed));
    stage.cast("driver", cast.driver, Class::Normal, move |_| {
        theirs.drive(&step)
    })?;
    let theirs = Arc::clone(&shared);
    stage.cast("admin", cast.admin, Class::Normal, move |_| {
        theirs.administer()
    })?;
    if play == Play::UnderReadLock {
        let theirs = Arc::clone(&shared);
        stage.cast("watch", cast.driver, Class::Normal, move |_| theirs.watch())?;
    }
    let events = stage.play(console)?;
    let counts = shared.counts(cpus);
    // Not under the lock: to remove it may take a while.
    let step = installed.lock().take();
    drop(step);
    drop(prepared);
    Ok(Act {
        title: play.title(),
        protocol: play.protocol(),
        cpus: cpus.before(),
        away: if play.goes() {
            CpuMask::EMPTY
        } else {
            CpuMask::of(cast.moving)
        },
        events,
        found: Default::default(),
        outcome: cast.outcome(play, &counts, *shared.deadlock.lock()),
    })
}

impl Shared {
    /// Gives `cpu` a buffer.
    fn give(&self, cpu: CpuId) {
        self.buffers.lock()[cpu.index()].0 += 1;
    }

    fn take_back(&self, cpu: CpuId) {
        self.buffers.lock()[cpu.index()].1 += 1;
    }

    /// Returns what each CPU has that takes part in the act.
    fn counts(&self, cpus: &Cpus) -> Vec<Count> {
        let buffers = self.buffers.lock().clone();
        let count = |cpu: CpuId| {
            let (got, back) = buffers[cpu.index()];
            Count { cpu, got, back }
        };
        cpus.before().iter().map(count).collect()
    }

    /// Returns the step that is passed by admin, half way: the notifiers of the old protocols, or
    /// where admin waits for the driver to come.
    fn prepared(self: &Arc<Self>) -> PrepareStep {
        let shared = Arc::clone(self);
        PrepareStep::new("lab-chain").startup(move |cpu| {
            if cpu == shared.cast.moving {
                // Given up: the CPU comes all the same.
                let _given_up = shared.pass();
            }
            Ok(())
        })
    }

    fn pass(&self) -> Result<(), GivenUp> {
        let Shared { cast, turns, .. } = self;
        match self.play {
            Play::LoopThenRegister | Play::RegisterThenLoop | Play::UnderReadLock => {
                let registered = *self.registered.lock();
                if registered {
                    self.give(cast.moving);
                }
                turns.say(cast.tells(registered));
            }
            Play::InstallInUp => {
                turns.say(cast.half_way());
                turns.until_asleep("admin", DRIVER)?;
                turns.say(cast.goes_on());
            }
            Play::UpInInstall | Play::RemoveInDown => {}
        }
        Ok(())
    }

    /// Returns the driver's step.
    fn driver_step(self: &Arc<Self>) -> EnableStep {
        let (ups, downs) = (Arc::clone(self), Arc::clone(self));
        EnableStep::new("lab-driver")
            .startup(move |cpu| {
                // Given up: the CPU comes all the same, and goes.
                let _given_up = ups.start(cpu);
                Ok(())
            })
            .teardown(move |cpu| {
                let _given_up = downs.stop(cpu);
                Ok(())
            })
    }

    /// The startup of the driver's step: says that it was called where that is of interest.
    fn start(&self, cpu: CpuId) -> Result<(), GivenUp> {
        let Shared { cast, turns, .. } = self;
        let is_said = match self.play {
            Play::InstallInUp if cpu == cast.moving => {
                turns.after("step", 5)?;
                true
            }
            // The driver tells which CPUs have a buffer in the step before.
            Play::UpInInstall if cpu == cast.moving => {
                turns.after("step", 4)?;
                true
            }
            play => play == Play::UpInInstall && cpu == cast.first(),
        };
        self.give(cpu);
        if is_said {
            turns.say(cast.gives(cpu));
        }
        if is_said && cpu != cast.moving {
            turns.until_asleep("step", ADMIN)?;
        }
        Ok(())
    }

    /// The teardown of the driver's step.
    fn stop(&self, cpu: CpuId) -> Result<(), GivenUp> {
        let Shared { cast, turns, .. } = self;
        self.take_back(cpu);
        if self.play == Play::RemoveInDown && cpu == cast.moving {
            turns.say(cast.takes_back(cpu));
            turns.until_asleep("step", DRIVER)?;
        }
        Ok(())
    }

    /// The driver.
    fn drive(self: &Arc<Self>, installed: &Installed) -> Result<(), GivenUp> {
        let Shared { cast, turns, .. } = &**self;
        match self.play {
            Play::LoopThenRegister => {
                turns.after("driver", 0)?;
                self.treat_online(Then::Waits);
                turns.after("driver", 4)?;
                self.register(Then::Idle);
                self.use_there()?;
            }
            Play::RegisterThenLoop => {
                turns.after("driver", 0)?;
                self.register(Then::Waits);
                turns.after("driver", 4)?;
                self.treat_online(Then::Idle);
                self.use_there()?;
            }
            Play::UnderReadLock => {
                turns.after("driver", 0)?;
                let held = hotplug::cpus_read_lock();
                turns.say(cast.reads());
                self.treat_online(Then::Waits);
                turns.after("driver", 4)?;
                turns.say_and_wait(DRIVER, cast.wants());
                if turns.lock_unless("driver", ADD_REMOVE, Some(GIVE_WAY))? {
                    self.register(Then::Idle);
                    turns.unlock(ADD_REMOVE);
                } else {
                    turns.say(cast.gives_way());
                }
                drop(held);
            }
            Play::InstallInUp => {
                turns.after("driver", 2)?;
                turns.say_and_wait(DRIVER, cast.installs(true));
                self.install(installed)?;
                self.use_there()?;
            }
            Play::UpInInstall => {
                turns.after("driver", 0)?;
                turns.say(cast.installs(false));
                self.install(installed)?;
                turns.after("driver", 6)?;
                self.use_there()?;
            }
            Play::RemoveInDown => {
                turns.after("driver", 2)?;
                turns.say_and_wait(DRIVER, cast.removes());
                let step = installed.lock().take();
                drop(step);
                turns.after("driver", 4)?;
                turns.say(cast.removed());
            }
        }
        Ok(())
    }

    /// Gives each CPU that is online a buffer; does `then` afterwards.
    fn treat_online(&self, then: Then) {
        let online = cpu::online_racy();
        online.iter().for_each(|cpu| self.give(cpu));
        self.turns.say(self.cast.loops(&online).then(then));
    }

    /// Has code on the CPU that has come look for its buffer.
    fn use_there(&self) -> Result<(), GivenUp> {
        let Shared { cast, turns, .. } = self;
        let got = self.buffers.lock()[cast.moving.index()].0;
        let line = cast.finds(got);
        cpu::call_on(cast.moving, || turns.say(line)).map_err(|error| {
            turns.give_up(Trouble::Call(error));
            GivenUp
        })
    }

    /// Registers the driver's notifier; does `then` afterwards.
    fn register(&self, then: Then) {
        *self.registered.lock() = true;
        self.turns.say(self.cast.registers().then(then));
    }

    fn install(self: &Arc<Self>, installed: &Installed) -> Result<(), GivenUp> {
        match self.driver_step().install() {
            Ok(step) => {
                // No other operation is over before this is said.
                self.turns.say(self.cast.installed(&self.treated()));
                *installed.lock() = Some(step);
                Ok(())
            }
            Err(error) => {
                self.turns.give_up(Trouble::Install(error));
                Err(GivenUp)
            }
        }
    }

    /// Returns the CPUs that have a buffer.
    fn treated(&self) -> CpuMask {
        let buffers = self.buffers.lock();
        let mut treated = CpuMask::EMPTY;
        for cpu in cpu::possible().iter() {
            if buffers[cpu.index()].0 > 0 {
                treated.insert(cpu);
            }
        }
        treated
    }

    /// Admin.
    fn administer(&self) -> Result<(), GivenUp> {
        let Shared { cast, turns, .. } = self;
        match self.play {
            Play::LoopThenRegister | Play::RegisterThenLoop => {
                turns.after("admin", 1)?;
                turns.say(cast.calls(self.play));
                self.operate()?;
            }
            Play::UnderReadLock => {
                turns.after("admin", 2)?;
                turns.lock_unless("admin", ADD_REMOVE, None)?;
                turns.say(cast.locks());
                turns.say_and_wait(ADMIN, cast.calls_and_waits());
                self.operate()?;
                turns.unlock(ADD_REMOVE);
            }
            Play::InstallInUp | Play::RemoveInDown => {
                turns.after("admin", 0)?;
                turns.say(cast.calls(self.play));
                self.operate()?;
            }
            Play::UpInInstall => {
                turns.after("admin", 2)?;
                turns.say_and_wait(ADMIN, cast.calls_and_waits());
                self.operate()?;
            }
        }
        Ok(())
    }

    /// Brings the CPU up, or takes it down.
    fn operate(&self) -> Result<(), GivenUp> {
        let cpu = self.cast.moving;
        let moved = if self.play.goes() {
            hotplug::cpu_down(cpu).map_err(Trouble::Down)
        } else {
            hotplug::cpu_up(cpu).map_err(Trouble::Up)
        };
        if let Err(trouble) = moved {
            self.turns.give_up(trouble);
            return Err(GivenUp);
        }
        self.turns.say(self.cast.returns(self.play));
        Ok(())
    }

    /// Sees two threads wait for each other, and has one of them give way.
    fn watch(&self) -> Result<(), GivenUp> {
        let Shared { cast, turns, .. } = self;
        turns.after("watch", 5)?;
        turns.until_asleep("watch", DRIVER)?;
        turns.until_asleep("watch", ADMIN)?;
        *self.deadlock.lock() = true;
        turns.say_and_signal(cast.deadlock(), GIVE_WAY);
        Ok(())
    }
}
