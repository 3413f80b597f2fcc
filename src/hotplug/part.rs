//! The parts that a recorded walk is made of.

use crate::cpu::CpuId;
use crate::time::Instant;
use crate::trace::{Direction, Gap};

/// A part of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// When it began.
    pub at: Instant,
    /// The CPU that it ran on, or that was waited for.
    pub on: CpuId,
    /// What it was.
    pub kind: PartKind,
    /// How long it took.
    pub ticks: u64,
}

/// What a part of a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// A step of the table.
    Step {
        /// Its index.
        step: usize,
        /// Startup or teardown.
        direction: Direction,
        /// Whether it succeeded; `None` if its end is not recorded.
        done: Option<bool>,
    },
    /// From the call until the first step began.
    Call,
    /// From a step of one thread, or of one CPU, to the next of another.
    HandOver,
    /// Control was at work for other CPUs of the same operation, or waited for them.
    Others,
    /// Control waited until the CPU, which comes with others, had arrived.
    Arrival,
    /// Control waited for the grace period of CPUs that go together.
    Grace,
    /// Until the first CPU had arrived in the still point, or the deadline was over.
    Request,
    /// From the arrival of the first CPU to that of the last.
    Gather,
    /// Until interrupts were off everywhere and the steps began.
    Mask,
    /// From the last step in the still point until all CPUs had left it.
    Exit,
    /// The CPU is about to leave through firmware; takes no time of its own.
    Dead,
    /// Control waited until the CPU, which goes with others, had said DEAD.
    Departure,
    /// From the last step until control was done.
    Return,
    /// All that lay between steps that followed each other on one CPU.
    Between,
}

impl PartKind {
    /// Returns whether what has this kind ends at a recorded moment, and began where the part
    /// before it ended.
    pub(super) fn is_moment(self) -> bool {
        !matches!(self, PartKind::Step { .. } | PartKind::Gather)
    }
}

impl From<Gap> for PartKind {
    fn from(gap: Gap) -> Self {
        match gap {
            Gap::Others => PartKind::Others,
            Gap::Arrival => PartKind::Arrival,
            Gap::Grace => PartKind::Grace,
            Gap::Request => PartKind::Request,
            Gap::Departure => PartKind::Departure,
            Gap::HandOver => PartKind::HandOver,
        }
    }
}
