//! An act: one protocol in one interleaving, what was seen, and what follows from it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::cpu::CpuMask;
use crate::lab::record::Event;
use crate::lab::timeline::Timeline;

/// Whose protocol it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// That of the time: it is here to fail.
    Old,
    /// One that this kernel has: it has to hold.
    Ours,
}

/// What an act has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went wrong, in so many words.
    Failed(String),
    /// It went right.
    Held(String),
}

/// What was played, and what came of it.
#[derive(Clone, Debug)]
pub struct Act {
    /// Its title, a line.
    pub title: &'static str,
    /// Whose protocol it plays.
    pub protocol: Protocol,
    /// The CPUs that were online at its begin or came meanwhile.
    pub cpus: CpuMask,
    /// Those of them that were offline at its begin.
    pub away: CpuMask,
    /// The steps.
    pub events: Vec<Event>,
    /// Text between the timeline and the outcome, such as a report; lines, or empty.
    pub found: String,
    /// What came of it.
    pub outcome: Outcome,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.protocol {
            Protocol::Old => "The old way",
            Protocol::Ours => "Ours",
        };
        writeln!(f, "{whose}: {}\n", self.title)?;
        writeln!(f, "  step CPU thread   what it does")?;
        for (at, Event { cpu, line }) in self.events.iter().enumerate() {
            let (step, cpu) = (at + 1, cpu.index());
            writeln!(f, "  {step:>4} {cpu:>3} {:<8} {}", line.thread, line.what)?;
        }
        writeln!(f)?;
        fmt::Display::fmt(&Timeline::of(self), f)?;
        writeln!(f)?;
        if !self.found.is_empty() {
            writeln!(f, "{}\n", self.found)?;
        }
        match &self.outcome {
            Outcome::Failed(how) => writeln!(f, "  IT FAILS: {how}"),
            Outcome::Held(how) => writeln!(f, "  It holds: {how}"),
        }
    }
}

/// Why a lab hasn't shown what it is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The old protocol went right in the act of this title.
    DidNotFail(&'static str),
    /// Ours went wrong in the act of this title.
    DidNotHold(&'static str),
    /// One of the two was not played.
    OneSided,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::DidNotFail(title) => write!(f, "the old way did not fail: {title}"),
            Wrong::DidNotHold(title) => write!(f, "ours did not hold: {title}"),
            Wrong::OneSided => f.write_str("nothing to compare"),
        }
    }
}

/// Says whether `acts` have shown what a lab is to show: each old protocol failed, and each of
/// ours held (`seen-not-said` of [`lab`](crate::lab)).
///
/// # Errors
/// [`Wrong`], for the first act that is otherwise.
pub fn judge(acts: &[Act]) -> Result<(), Wrong> {
    for act in acts {
        match (act.protocol, &act.outcome) {
            (Protocol::Old, Outcome::Failed(_)) | (Protocol::Ours, Outcome::Held(_)) => {}
            (Protocol::Old, Outcome::Held(_)) => return Err(Wrong::DidNotFail(act.title)),
            (Protocol::Ours, Outcome::Failed(_)) => return Err(Wrong::DidNotHold(act.title)),
        }
    }
    let plays = |protocol| acts.iter().any(|act| act.protocol == protocol);
    if plays(Protocol::Old) && plays(Protocol::Ours) {
        Ok(())
    } else {
        Err(Wrong::OneSided)
    }
}
