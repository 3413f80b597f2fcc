//! 2006: a reader is preempted between a read and its use, and a stop changes what it has read.
//!
//! Keith Owens asked whether `stop_machine` is safe with preemption. It is not, Rusty Russell
//! answered, and never was meant to be: its read side is code with preemption off. The same mail has
//! the larger form, in which threads that were preempted finish first.
//!
//! | Thread | Does |
//! |---|---|
//! | reader | reads the number of the slot in use, and then uses that slot |
//! | keeper | realtime, on the reader's CPU: takes it between the two, if it may |
//! | writer | on another CPU: stops the machine to put another slot in use, and then frees the first |

use crate::cpu::{CpuId, CpuMask};
use crate::lab::{Draw, Line, Outcome, Scene, Then};

/// The number of slots.
pub const SLOTS: usize = 8;

/// How the reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// It may be preempted, and no stop waits for it.
    Open,
    /// With preemption off.
    PreemptOff,
    /// It may be preempted, and a stop that flushes waits for it.
    NoFlush,
}

impl Section {
    /// Returns the title of an act in which the reader reads so.
    pub const fn title(self) -> &'static str {
        match self {
            Section::Open => "stop_machine(), and a reader that may be preempted",
            Section::PreemptOff => "stop_machine(), and a reader with preemption off",
            Section::NoFlush => "a stop that flushes, and a reader that may be preempted",
        }
    }

    const fn stop(self) -> &'static str {
        match self {
            Section::Open | Section::PreemptOff => "calls stop_machine()",
            Section::NoFlush => "calls a stop that flushes preempted threads",
        }
    }
}

/// Which CPUs and slots an act has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The CPU of the reader and of the keeper.
    pub reader: CpuId,
    /// The CPU of the writer.
    pub writer: CpuId,
    /// The slot that is in use at the begin.
    pub slot: usize,
    /// The slot that is in use at the end.
    pub next: usize,
}

impl Cast {
    /// Chooses by `seed` among the CPUs `online`; `None` if they are too few.
    pub fn choose(seed: u64, online: &CpuMask) -> Option<Cast> {
        let (mut draw, mut cpus) = (Draw::new(seed), *online);
        let (reader, writer) = (draw.take(&mut cpus)?, draw.take(&mut cpus)?);
        let slot = draw.below(SLOTS);
        let next = (slot + 1 + draw.below(SLOTS - 1)) % SLOTS;
        Some(Cast {
            reader,
            writer,
            slot,
            next,
        })
    }

    /// The reader has read.
    pub fn reads(&self, section: Section) -> Line {
        let how = match section {
            Section::PreemptOff => "turns preemption off, and reads",
            Section::Open | Section::NoFlush => "reads",
        };
        let what = format_args!("{how}: slot {} is in use", self.slot);
        Line::new("reader", "read", what)
    }

    /// The keeper has the CPU.
    pub fn takes(&self) -> Line {
        Line::new("keeper", "takes", "is more urgent, and takes the CPU")
    }

    /// The reader has woken the keeper, and goes on before it.
    pub fn keeps(&self) -> Line {
        Line::new("reader", "keeps", "has woken the keeper, and keeps the CPU")
    }

    /// The writer is about to stop the machine.
    pub fn calls(&self, section: Section) -> Line {
        Line::new("writer", "call", section.stop()).then(Then::Waits)
    }

    /// The function of the stop runs.
    pub fn changes(&self) -> Line {
        let Cast { slot, next, .. } = self;
        let what = format_args!("no CPU moves: slot {next} is in use instead of {slot}");
        let line = Line::new("writer", "fn", what).scene(Scene::Still);
        line.then(Then::Waits)
    }

    /// The stop is over, and the old slot is freed.
    pub fn frees(&self) -> Line {
        let what = format_args!("is back, and frees slot {}", self.slot);
        Line::new("writer", "frees", what).then(Then::Idle)
    }

    /// The keeper gives its CPU away.
    pub fn sleeps(&self) -> Line {
        Line::new("keeper", "sleep", "is done, and sleeps").then(Then::Idle)
    }

    /// The reader uses slot `used`, which has been freed or not.
    pub fn uses(&self, used: usize, is_freed: bool) -> Line {
        let (mark, state) = if is_freed {
            ("STALE", "which has been freed")
        } else {
            ("uses", "which is there")
        };
        let what = format_args!("uses slot {used}, {state}");
        Line::new("reader", mark, what).then(Then::Idle)
    }

    /// Says what came of it, if the reader found its slot freed or not.
    pub fn outcome(&self, section: Section, is_freed: bool) -> Outcome {
        let slot = self.slot;
        if is_freed {
            return Outcome::Failed(alloc::format!(
                "the reader has used slot {slot} after it was freed.\n  \
                 The stop took the CPU from the reader, which was in the middle of something."
            ));
        }
        let why = match section {
            Section::Open => "the reader was done before the stop began.",
            Section::PreemptOff => {
                "the stop has waited for the reader's CPU.\n  \
                 To turn preemption off is the read side of stop_machine()."
            }
            Section::NoFlush => {
                "the preempted reader was let finish, before the more urgent\n  \
                 keeper and before the function. Its read side is all that doesn't sleep."
            }
        };
        Outcome::Held(why.into())
    }
}
