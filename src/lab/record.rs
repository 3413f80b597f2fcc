//! What the threads of a race say that they do, in the order in which they do it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Display;

use crate::cpu::CpuId;

/// The most steps of an act: as many as the scripts have, and some.
const STEPS: usize = 24;

/// What a CPU does behind a step, until the next step there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// A thread of the race runs.
    Runs,
    /// A thread of the race waits.
    Waits,
    /// Nothing that belongs to the race.
    Idle,
}

/// What a step changes beside the CPU on which it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Nothing.
    Step,
    /// All CPUs stand still meanwhile.
    Still,
    /// This CPU is online from now on.
    Comes(CpuId),
    /// This CPU is offline from now on.
    Goes(CpuId),
}

/// What a thread says that it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The thread.
    pub thread: &'static str,
    /// One word for the timeline.
    pub mark: &'static str,
    /// The rest of a sentence that begins with the thread.
    pub what: String,
    /// What its CPU does from then on.
    pub then: Then,
    /// What else changes.
    pub scene: Scene,
}

impl Line {
    /// Makes a line of `thread`, which runs on behind it.
    pub fn new(thread: &'static str, mark: &'static str, what: impl Display) -> Line {
        Line {
            thread,
            mark,
            what: alloc::format!("{what}"),
            then: Then::Runs,
            scene: Scene::Step,
        }
    }

    /// Sets what the CPU does from then on.
    #[must_use]
    pub fn then(self, then: Then) -> Line {
        Line { then, ..self }
    }

    /// Sets what else changes.
    #[must_use]
    pub fn scene(self, scene: Scene) -> Line {
        Line { scene, ..self }
    }
}

/// A line, and the CPU on which it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The CPU.
    pub cpu: CpuId,
    /// The line.
    pub line: Line,
}

/// The steps of an act (`steps-not-times` of [`lab`](crate::lab)).
#[derive(Debug)]
pub struct Record {
    events: Vec<Event>,
    lost: usize,
}

impl Record {
    /// Returns an empty record. What it will hold is allocated now, so that a step can be
    /// recorded where nothing may be allocated.
    pub fn new() -> Record {
        Record {
            events: Vec::with_capacity(STEPS),
            lost: 0,
        }
    }

    /// Records a step.
    pub fn add(&mut self, cpu: CpuId, line: Line) {
        if self.events.len() < STEPS {
            self.events.push(Event { cpu, line });
        } else {
            self.lost += 1;
        }
    }

    /// Returns the number of steps.
    pub fn len(&self) -> usize {
        self.events.len() + self.lost
    }

    /// Returns whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the steps, and leaves the record empty.
    ///
    /// # Panics
    /// If there were more than there is room for.
    pub fn take(&mut self) -> Vec<Event> {
        assert_eq!(self.lost, 0, "BUG: a script of more than {STEPS} steps");
        core::mem::take(&mut self.events)
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}
