//! 2017: the hotplug lock and the per-CPU allocator's mutex, in both orders.
//!
//! The allocator drained a cache of each CPU, and so it took the hotplug lock for reading with
//! its mutex held. A callback of hotplug, which runs with the hotplug lock held for writing,
//! allocated. Linux's lock validator told of it, Michal Hocko, Christoph Lameter and Thomas
//! Gleixner argued what to drop, and the last said what to do: everything complex before the stop,
//! in ordinary context.
//!
//! | Thread | Does |
//! |---|---|
//! | alloc | allocates an object of which each CPU has a copy |
//! | admin | brings a CPU up; in a step of the table, it allocates, too |
//! | watch | sees that both sleep and wait for each other |

use alloc::string::String;

use crate::cpu::{CpuId, CpuMask};
use crate::lab::{Draw, Line, Outcome, Protocol, Scene, Then};

/// How the allocator goes about it, and when admin comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// The allocator takes the hotplug lock; admin comes when it is done.
    Later,
    /// The allocator takes the hotplug lock; admin comes meanwhile.
    Meanwhile,
    /// The allocator takes no lock of hotplug; admin comes meanwhile.
    Ours,
}

impl Play {
    /// All, in the order in which they are shown.
    pub const ALL: [Play; 3] = [Play::Later, Play::Meanwhile, Play::Ours];

    /// Returns the title of its act.
    pub const fn title(self) -> &'static str {
        match self {
            Play::Later => "both orders of the two locks, one after the other",
            Play::Meanwhile => "both orders of the two locks, at the same time",
            Play::Ours => "the allocator needs no lock of hotplug",
        }
    }

    /// Returns whose protocol it is.
    pub const fn protocol(self) -> Protocol {
        match self {
            Play::Later | Play::Meanwhile => Protocol::Old,
            Play::Ours => Protocol::Ours,
        }
    }
}

/// Which CPUs an act has, and how large a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The CPU that comes.
    pub coming: CpuId,
    /// The CPU of alloc, and of the watch.
    pub alloc: CpuId,
    /// The CPU of admin.
    pub admin: CpuId,
    /// The size of a copy, in bytes.
    pub bytes: usize,
}

/// The most words that a copy has.
const MOST: usize = 64;

impl Cast {
    /// Chooses by `seed` among the CPUs `online`; `None` if they are too few.
    pub fn choose(seed: u64, online: &CpuMask) -> Option<Cast> {
        let (mut draw, mut cpus) = (Draw::new(seed), *online);
        Some(Cast {
            coming: draw.take(&mut cpus)?,
            alloc: draw.take_or_share(&mut cpus)?,
            admin: draw.take_or_share(&mut cpus)?,
            bytes: 8 * (1 + draw.below(MOST)),
        })
    }

    /// The allocator has its mutex.
    pub fn locks(&self) -> Line {
        let what = format_args!("takes its mutex, for {} bytes for each CPU", self.bytes);
        Line::new("alloc", "mutex", what)
    }

    /// The allocator has the hotplug lock, too.
    pub fn drains(&self) -> Line {
        let what = "has cpus_read_lock(), and drains each CPU's cache";
        Line::new("alloc", "read", what)
    }

    /// The allocator wants the hotplug lock.
    pub fn wants_cpus(&self) -> Line {
        let what = "wants cpus_read_lock(): the validator speaks up";
        Line::new("alloc", "FOUND", what)
    }

    /// The allocator waits for the hotplug lock.
    pub fn waits_for_cpus(&self) -> Line {
        let what = "waits for it all the same, to see what happens";
        Line::new("alloc", "waits", what).then(Then::Waits)
    }

    /// The allocator needs no lock of hotplug.
    pub fn copies(&self, possible: &CpuMask) -> Line {
        let what = format_args!("makes a copy for each CPU that may come: {possible}");
        Line::new("alloc", "copy", what)
    }

    /// The allocator has opened what it had.
    pub fn opens(&self) -> Line {
        Line::new("alloc", "opens", "opens what it has taken").then(Then::Idle)
    }

    /// Admin is about to bring the CPU up.
    pub fn calls(&self) -> Line {
        let what = format_args!("calls cpu_up({}): takes the hotplug lock", self.coming);
        Line::new("admin", "up", what)
    }

    /// A step of admin's allocates, and finds the mutex open; the validator has found the order.
    pub fn wants_mutex(&self) -> Line {
        let what = "in a step, wants the mutex: the validator speaks up";
        Line::new("admin", "FOUND", what)
    }

    /// A step of admin's allocates, and waits for the mutex.
    pub fn waits_for_mutex(&self) -> Line {
        let line = Line::new(
            "admin",
            "waits",
            "in a step, wants the mutex of alloc, and waits",
        );
        line.then(Then::Waits)
    }

    /// A step of admin's has got the mutex.
    pub fn allocates(&self) -> Line {
        let what = format_args!(
            "has the mutex, and {} bytes for CPU {}",
            self.bytes, self.coming
        );
        Line::new("admin", "mutex", what)
    }

    /// Two threads wait for each other.
    pub fn deadlock(&self) -> Line {
        let what = "sees both asleep, each waits for the other: for ever";
        Line::new("watch", "DEAD", what).then(Then::Waits)
    }

    /// A step of admin's does what none would: it gives way.
    pub fn gives_way(&self) -> Line {
        let what = "is told to give way: its step fails, the walk turns back";
        Line::new("admin", "fails", what)
    }

    /// The operation of admin is over.
    pub fn returns(&self, is_online: bool) -> Line {
        let cpu = self.coming;
        if is_online {
            let what = format_args!("is back: CPU {cpu} is online");
            let line = Line::new("admin", "back", what).then(Then::Idle);
            line.scene(Scene::Comes(cpu))
        } else {
            let what = format_args!("is back: CPU {cpu} stays offline (EDEADLK)");
            Line::new("admin", "back", what).then(Then::Idle)
        }
    }

    /// Says what came of it, if the validator has found both orders, and two threads were seen to
    /// wait for each other.
    pub fn outcome(&self, found: bool, deadlock: bool) -> Outcome {
        match (found, deadlock) {
            (true, false) => Outcome::Failed(
                "it has gone well this time: the two didn't meet.\n  \
                 The validator has found all the same what will hang one day."
                    .into(),
            ),
            (true, true) => Outcome::Failed(
                "a deadlock, which the validator has told of before.\n  \
                 Alloc has the mutex and wants the hotplug lock, admin the other way round."
                    .into(),
            ),
            (false, true) => Outcome::Failed("a deadlock, and the validator was silent.".into()),
            (false, false) => Outcome::Held(String::from(
                "admin has waited for alloc, and alloc for nothing.\n  \
                 The validator has seen one order only: hotplug lock, then mutex.",
            )),
        }
    }
}
