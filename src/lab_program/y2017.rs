//! Plays [`crate::lab::y2017`]: the hotplug lock and an allocator's mutex, in both orders.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::api::Errno;
use crate::api::cpu::{self, CpuMask};
use crate::api::hotplug::{self, PrepareStep};
use crate::api::sync::SpinLock;
use crate::api::thread::Class;
use crate::kernel::Hw;
use crate::lab::y2017::{Cast, Play};
use crate::lab::{Act, Holder, Ordered, Orders};
use crate::lab_program::cpus::Cpus;
use crate::lab_program::stage::Stage;
use crate::lab_program::trouble::Trouble;
use crate::lab_program::turns::{GivenUp, Lock, Signal, Sleeper, Turns};
use crate::lab_program::{Console, Show};
use crate::sync::lockdep::{LockKind, Report};

/// The mutex of the allocator, as its waiters know it.
const MUTEX: Lock = Lock(0);
/// Admin's step is to give way.
const GIVE_WAY: Signal = Signal(0);
const ALLOC: Sleeper = Sleeper(0);
const ADMIN: Sleeper = Sleeper(1);

/// The two locks, as the validator knows them.
static MUTEX_ORDER: Ordered = Ordered::new(LockKind::Sleep, || "alloc");
static HOTPLUG_ORDER: Ordered = Ordered::new(LockKind::Rw, || "CPUs");

/// What the threads of an act and the callback of its step share.
struct Shared {
    cast: Cast,
    play: Play,
    turns: Arc<Turns>,
    orders: Orders<Hw>,
    alloc: Holder<Hw>,
    admin: Holder<Hw>,
    seen: SpinLock<Seen>,
}

/// What was seen in an act.
#[derive(Default)]
struct Seen {
    /// What the validator has said.
    report: Option<Box<Report>>,
    /// Two threads were seen to wait for each other.
    deadlock: bool,
    /// The copies of the object, one for each CPU.
    copies: Vec<Box<[u8]>>,
}

/// Plays all acts.
///
/// # Errors
/// [`Trouble`].
pub(super) fn run(seed: u64, console: &mut dyn Console, show: Show<'_>) -> Result<(), Trouble> {
    let cpus = Cpus::online();
    let cast = Cast::choose(seed, &cpus.before()).ok_or(Trouble::FewCpus(cpus.before()))?;
    for play in Play::ALL {
        cpus.have(cast.coming, false)?;
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
        orders: Orders::new(),
        alloc: Holder::new("alloc"),
        admin: Holder::new("admin"),
        seen: SpinLock::new(Seen::default()),
    });
    let theirs = Arc::clone(&shared);
    let step = PrepareStep::new("lab-copies").startup(move |cpu| {
        if cpu == theirs.cast.coming {
            theirs.prepare()
        } else {
            Ok(())
        }
    });
    let step = step.install_nocalls().map_err(Trouble::Install)?;
    let theirs = Arc::clone(&shared);
    stage.cast("alloc", cast.alloc, Class::Normal, move |_| {
        theirs.allocate()
    })?;
    let theirs = Arc::clone(&shared);
    stage.cast("admin", cast.admin, Class::Normal, move |_| {
        theirs.administer()
    })?;
    if play == Play::Meanwhile {
        let theirs = Arc::clone(&shared);
        stage.cast("watch", cast.alloc, Class::Normal, move |_| theirs.watch())?;
    }
    let events = stage.play(console)?;
    drop(step);
    let seen = core::mem::take(&mut *shared.seen.lock());
    let found = seen.report.is_some();
    Ok(Act {
        title: play.title(),
        protocol: play.protocol(),
        cpus: cpus.before(),
        away: CpuMask::of(cast.coming),
        events,
        found: told(seen.report),
        outcome: cast.outcome(found, seen.deadlock),
    })
}

/// Returns what the validator has said, as lines of an act.
fn told(report: Option<Box<Report>>) -> String {
    let Some(report) = report else {
        return String::new();
    };
    let said = report.to_string();
    let lines = said.lines().map(|line| alloc::format!("  | {line}"));
    lines.collect::<Vec<_>>().join("\n")
}

impl Shared {
    /// The allocator.
    fn allocate(&self) -> Result<(), GivenUp> {
        let Shared { cast, turns, .. } = self;
        turns.after("alloc", 0)?;
        self.asks(&self.alloc, &MUTEX_ORDER);
        turns.lock_unless("alloc", MUTEX, None)?;
        turns.say(cast.locks());
        match self.play {
            Play::Later => {
                self.asks(&self.alloc, &HOTPLUG_ORDER);
                let held = hotplug::cpus_read_lock();
                turns.say(cast.drains());
                drop(held);
                self.orders.opens(&self.alloc, &HOTPLUG_ORDER);
            }
            Play::Meanwhile => {
                turns.after("alloc", 3)?;
                turns.until_asleep("alloc", ADMIN)?;
                if self.asks(&self.alloc, &HOTPLUG_ORDER) {
                    turns.say(cast.wants_cpus());
                }
                turns.say_and_wait(ALLOC, cast.waits_for_cpus());
                let held = hotplug::cpus_read_lock();
                turns.say(cast.drains());
                drop(held);
            }
            Play::Ours => {
                turns.after("alloc", 3)?;
                turns.until_asleep("alloc", ADMIN)?;
                let possible = cpu::possible();
                possible.iter().for_each(|_| self.copy());
                turns.say(cast.copies(&possible));
            }
        }
        turns.say(cast.opens());
        self.orders.opens(&self.alloc, &MUTEX_ORDER);
        turns.unlock(MUTEX);
        Ok(())
    }

    /// Asks the validator whether `holder` may wait for `lock`. Keeps what it says, and returns whether
    /// it has said anything.
    #[track_caller]
    fn asks(&self, holder: &Holder<Hw>, lock: &Ordered) -> bool {
        let Err(report) = self.orders.takes(holder, lock) else {
            return false;
        };
        self.seen.lock().report.get_or_insert(report);
        true
    }

    /// Makes a copy of the object.
    fn copy(&self) {
        let copy = alloc::vec![0; self.cast.bytes].into_boxed_slice();
        let mut copies = Vec::new();
        core::mem::swap(&mut copies, &mut self.seen.lock().copies);
        copies.push(copy);
        self.seen.lock().copies = copies;
    }

    /// Admin.
    fn administer(&self) -> Result<(), GivenUp> {
        let Shared { cast, turns, .. } = self;
        let first = match self.play {
            Play::Later => 3,
            Play::Meanwhile | Play::Ours => 1,
        };
        turns.after("admin", first)?;
        self.asks(&self.admin, &HOTPLUG_ORDER);
        turns.say(cast.calls());
        let up = hotplug::cpu_up(cast.coming);
        self.orders.opens(&self.admin, &HOTPLUG_ORDER);
        match up {
            Ok(()) => turns.say(cast.returns(true)),
            Err(error) if error.errno() == Errno::Deadlock => {
                turns.after("admin", 9)?;
                turns.say(cast.returns(false));
            }
            Err(error) => turns.give_up(Trouble::Up(error)),
        }
        Ok(())
    }

    /// The step in which admin allocates, with the hotplug lock held for writing.
    fn prepare(&self) -> Result<(), Errno> {
        let Shared { cast, turns, .. } = self;
        let found = self.asks(&self.admin, &MUTEX_ORDER);
        match self.play {
            Play::Later if found => turns.say(cast.wants_mutex()),
            Play::Later => {}
            Play::Meanwhile | Play::Ours => turns.say_and_wait(ADMIN, cast.waits_for_mutex()),
        }
        match turns.lock_unless("admin", MUTEX, Some(GIVE_WAY)) {
            Ok(true) => {
                self.copy();
                turns.say(cast.allocates());
                turns.unlock(MUTEX);
            }
            Ok(false) => {
                turns.say(cast.gives_way());
                return Err(Errno::Deadlock);
            }
            // Given up: the CPU comes all the same.
            Err(GivenUp) => {}
        }
        self.orders.opens(&self.admin, &MUTEX_ORDER);
        Ok(())
    }

    /// Sees two threads wait for each other, and has one of them give way.
    fn watch(&self) -> Result<(), GivenUp> {
        let Shared { cast, turns, .. } = self;
        turns.after("watch", 5)?;
        turns.until_asleep("watch", ALLOC)?;
        turns.until_asleep("watch", ADMIN)?;
        self.seen.lock().deadlock = true;
        turns.say_and_signal(cast.deadlock(), GIVE_WAY);
        Ok(())
    }
}
