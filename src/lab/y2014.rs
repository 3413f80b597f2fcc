//! 2014: a driver wants to be told of each CPU, while one comes.
//!
//! A driver had to initialise the CPUs that were online, and to register a notifier for those
//! that would come. Between the two, or in the wrong order, or under the lock that seemed right,
//! a CPU was missed, treated twice, or all waited for ever: the state of many drivers when
//! Srivatsa Bhat mended them, and Gautham Shenoy told what the lock in question was for.
//!
//! | Thread | Does |
//! |---|---|
//! | driver | wants one buffer for each CPU that is online, now and later |
//! | admin | brings a CPU up, or takes it down, in between |
//! | chain | the notifiers, as `cpu_up` called them: a step of the table, on admin's CPU |
//! | step | the driver's own step of the table, on the CPU that it is about |
//! | user | code on the CPU that has come, which wants its buffer |
//! | watch | sees that two threads sleep that wait for each other |

use alloc::string::String;

use crate::cpu::{CpuId, CpuMask};
use crate::lab::{Draw, Line, Outcome, Protocol, Scene, Then};

/// What the driver and admin do, and in which interleaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// The driver loops over the CPUs, then registers; a CPU comes in between.
    LoopThenRegister,
    /// The driver registers, then loops; a CPU comes in between.
    RegisterThenLoop,
    /// The driver does both under the lock for readers.
    UnderReadLock,
    /// The driver installs a step while a CPU is half way up.
    InstallInUp,
    /// A CPU is to come while the step is being installed.
    UpInInstall,
    /// The driver removes its step while a CPU goes.
    RemoveInDown,
}

impl Play {
    /// All, in the order in which they are shown.
    pub const ALL: [Play; 6] = [
        Play::LoopThenRegister,
        Play::RegisterThenLoop,
        Play::UnderReadLock,
        Play::InstallInUp,
        Play::UpInInstall,
        Play::RemoveInDown,
    ];

    /// Returns the title of its act.
    pub const fn title(self) -> &'static str {
        match self {
            Play::LoopThenRegister => "loop over the CPUs, then register a notifier",
            Play::RegisterThenLoop => "register a notifier, then loop over the CPUs",
            Play::UnderReadLock => "get_online_cpus(), loop, register, put_online_cpus()",
            Play::InstallInUp => "install a step, while a CPU is half way up",
            Play::UpInInstall => "a CPU is to come, while a step is being installed",
            Play::RemoveInDown => "remove a step, while a CPU is half way down",
        }
    }

    /// Returns whose protocol it is.
    pub const fn protocol(self) -> Protocol {
        match self {
            Play::LoopThenRegister | Play::RegisterThenLoop | Play::UnderReadLock => Protocol::Old,
            Play::InstallInUp | Play::UpInInstall | Play::RemoveInDown => Protocol::Ours,
        }
    }

    /// Returns whether the CPU goes, and doesn't come.
    pub const fn goes(self) -> bool {
        matches!(self, Play::RemoveInDown)
    }
}

/// Which CPUs an act has, and how large a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The CPU that comes and goes.
    pub moving: CpuId,
    /// The CPU of the driver, and of the watch.
    pub driver: CpuId,
    /// The CPU of admin.
    pub admin: CpuId,
    /// The CPUs that stay.
    pub stay: CpuMask,
    /// The size of a buffer, in pages.
    pub pages: usize,
}

/// The most pages that a buffer has.
const MOST: usize = 64;

impl Cast {
    /// Chooses by `seed` among the CPUs `online`; `None` if they are too few.
    pub fn choose(seed: u64, online: &CpuMask) -> Option<Cast> {
        let (mut draw, mut cpus) = (Draw::new(seed), *online);
        let moving = draw.take(&mut cpus)?;
        let stay = cpus;
        Some(Cast {
            moving,
            driver: draw.take_or_share(&mut cpus)?,
            admin: draw.take_or_share(&mut cpus)?,
            stay,
            pages: 1 + draw.below(MOST),
        })
    }

    /// Returns the CPU on which the installation calls the step first.
    pub fn first(&self) -> CpuId {
        self.stay.first().unwrap_or(self.driver)
    }

    /// The driver has given each of `online` a buffer.
    pub fn loops(&self, online: &CpuMask) -> Line {
        let what = format_args!("gives each CPU that is online a buffer: {online}");
        Line::new("driver", "loop", what)
    }

    /// The driver is in the list of notifiers.
    pub fn registers(&self) -> Line {
        Line::new("driver", "reg", "registers its notifier")
    }

    /// The driver holds the lock for readers.
    pub fn reads(&self) -> Line {
        Line::new(
            "driver",
            "read",
            "has cpus_read_lock(): no CPU comes or goes",
        )
    }

    /// The driver waits for the lock that an operation has.
    pub fn wants(&self) -> Line {
        let what = "wants the lock of admin, to register its notifier";
        Line::new("driver", "wants", what).then(Then::Waits)
    }

    /// Two threads wait for each other.
    pub fn deadlock(&self) -> Line {
        let what = "sees both asleep, each waits for the other: for ever";
        Line::new("watch", "DEAD", what).then(Then::Waits)
    }

    /// The driver does what no driver could: it gives way.
    pub fn gives_way(&self) -> Line {
        let what = "is told to give way, and drops cpus_read_lock()";
        Line::new("driver", "drops", what).then(Then::Idle)
    }

    /// Admin has the lock that each operation had.
    pub fn locks(&self) -> Line {
        Line::new("admin", "lock", "takes the lock that each operation takes")
    }

    /// Admin is about to bring the CPU up, or to take it down.
    pub fn calls(&self, play: Play) -> Line {
        let (mark, call) = if play.goes() {
            ("down", "cpu_down")
        } else {
            ("up", "cpu_up")
        };
        let what = format_args!("calls {call}({})", self.moving);
        Line::new("admin", mark, what)
    }

    /// Admin is about to bring the CPU up, and has to wait for the driver.
    pub fn calls_and_waits(&self) -> Line {
        let what = format_args!("calls cpu_up({}), which waits for the driver", self.moving);
        Line::new("admin", "up", what).then(Then::Waits)
    }

    /// The operation is half way.
    pub fn half_way(&self) -> Line {
        let what = format_args!("is half way: CPU {} is being prepared", self.moving);
        Line::new("admin", "half", what)
    }

    /// The operation has gone on while the driver sleeps.
    pub fn goes_on(&self) -> Line {
        let line = Line::new("admin", "on", "sees the driver asleep, and goes on");
        line.then(Then::Waits)
    }

    /// The notifiers are told of the CPU: the driver's, if it is registered.
    pub fn tells(&self, is_registered: bool) -> Line {
        let (mark, how) = if is_registered {
            ("tell", "the driver's notifier gives it a buffer")
        } else {
            ("none", "no notifier is there to be told")
        };
        let what = format_args!("CPU {} comes: {how}", self.moving);
        Line::new("chain", mark, what).then(Then::Waits)
    }

    /// The operation of admin is over.
    pub fn returns(&self, play: Play) -> Line {
        let cpu = self.moving;
        let (state, scene) = if play.goes() {
            ("offline", Scene::Goes(cpu))
        } else {
            ("online", Scene::Comes(cpu))
        };
        let what = format_args!("is back: CPU {cpu} is {state}");
        let line = Line::new("admin", "back", what);
        line.then(Then::Idle).scene(scene)
    }

    /// The driver installs its step, and has to wait for the operation, or not.
    pub fn installs(&self, waits: bool) -> Line {
        let meanwhile = if waits { ", which waits for admin" } else { "" };
        let what = format_args!("installs its step{meanwhile}");
        Line::new("driver", "inst", what).then(Then::Waits)
    }

    /// The step gives `cpu` a buffer.
    pub fn gives(&self, cpu: CpuId) -> Line {
        let what = format_args!("gives CPU {cpu} a buffer of {} pages", self.pages);
        let line = Line::new("step", "gives", what).then(Then::Idle);
        if cpu == self.moving {
            line.scene(Scene::Comes(cpu))
        } else {
            line
        }
    }

    /// The step of the driver is installed.
    pub fn installed(&self, online: &CpuMask) -> Line {
        let what = format_args!("is back: the step is there, and called on {online}");
        Line::new("driver", "done", what).then(Then::Idle)
    }

    /// The step takes the buffer of `cpu` back.
    pub fn takes_back(&self, cpu: CpuId) -> Line {
        let what = format_args!("takes the {} pages of CPU {cpu} back", self.pages);
        Line::new("step", "takes", what).then(Then::Idle)
    }

    /// The driver removes its step, and has to wait for the operation.
    pub fn removes(&self) -> Line {
        let what = "removes its step, which waits for admin";
        Line::new("driver", "rem", what).then(Then::Waits)
    }

    /// The step of the driver is gone.
    pub fn removed(&self) -> Line {
        let what = "is back: the step is gone, and called on the others";
        Line::new("driver", "done", what).then(Then::Idle)
    }

    /// Code on the CPU that has come looks for its buffer, and finds `got`.
    pub fn finds(&self, got: usize) -> Line {
        let cpu = self.moving;
        let (mark, what) = match got {
            0 => (
                "MISS",
                alloc::format!("wants the buffer of CPU {cpu}: there is none"),
            ),
            1 => ("uses", alloc::format!("uses the buffer of CPU {cpu}")),
            _ => (
                "LOST",
                alloc::format!("uses the last of {got} buffers: the first is lost"),
            ),
        };
        Line::new("user", mark, what).then(Then::Idle)
    }

    /// Says what came of `play`, if each CPU has got and given back so many buffers.
    pub fn outcome(&self, play: Play, counts: &[Count], deadlock: bool) -> Outcome {
        if deadlock {
            return Outcome::Failed(
                "a deadlock. The driver has cpus_read_lock() and wants the lock that\n  \
                 admin has; admin waits for the driver's."
                    .into(),
            );
        }
        if let Some(wrong) = counts.iter().find(|count| !count.is_wanted(play)) {
            return Outcome::Failed(wrong.told());
        }
        Outcome::Held(String::from(if play.goes() {
            "each CPU has given its one buffer back, once."
        } else {
            "each CPU that is online has one buffer."
        }))
    }
}

/// How many buffers a CPU has got, and has given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The CPU, which was online when an act began, or at its end.
    pub cpu: CpuId,
    /// How many it has got.
    pub got: usize,
    /// How many it has given back.
    pub back: usize,
}

impl Count {
    fn is_wanted(&self, play: Play) -> bool {
        self.got == 1 && self.back == usize::from(play.goes())
    }

    fn told(&self) -> String {
        let Count { cpu, got, back } = self;
        match (got, back) {
            (0, _) => alloc::format!("CPU {cpu} is online, and was missed: it has no buffer."),
            (1, 0) => alloc::format!("CPU {cpu} has not given its buffer back."),
            (_, 0) => alloc::format!(
                "CPU {cpu} was treated {got} times: the buffer that it got first is lost."
            ),
            _ => alloc::format!("CPU {cpu} has got {got} buffers, and given {back} back."),
        }
    }
}
