//! What a line says of a recorded walk.

use core::fmt;

use crate::hotplug::{PartKind, RecordedWalk, StepName};
use crate::time::{Frequency, Thousandths};
use crate::trace::Direction;

/// Displays the outcome and the duration of a walk in one line.
pub struct WalkLine<'a, N: Fn(usize) -> StepName> {
    /// The walk.
    pub walk: &'a RecordedWalk,
    /// How many ticks a second has.
    pub frequency: Frequency,
    /// Returns the name of a step from its index.
    pub step_name_fn: N,
    /// Whether the line says in which part of the CPU's own walk most of the time went, and for
    /// how long it waited for others.
    pub with_longest: bool,
}

impl<N: Fn(usize) -> StepName> fmt::Display for WalkLine<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let walk = self.walk;
        let millis = |ticks| Millis(self.frequency.ticks_to_ns(ticks));
        let whole = millis(walk.ended.ticks_since(walk.began));
        write!(f, "CPU{} {}", walk.cpu, way(walk.direction))?;
        match walk.failed {
            Some(step) => {
                let name = (self.step_name_fn)(step);
                write!(f, ": {name} failed, back after {whole}")?;
            }
            None if walk.turned_back => write!(f, ": turned back after {whole}")?,
            None => write!(f, " in {whole}")?,
        }
        if let Some(longest) = walk.longest().filter(|_| self.with_longest) {
            let name = part_name(longest.kind, &self.step_name_fn);
            write!(f, ", {} of it in {name}", millis(longest.ticks))?;
            let others = walk.for_others();
            if others > 0 {
                write!(f, " and {} for others", millis(others))?;
            }
        }
        if let Some(ticks) = walk.irqs_off {
            write!(f, ", interrupts off for {}", millis(ticks))?;
        }
        if !walk.whole {
            f.write_str(" (not all of it is recorded)")?;
        }
        Ok(())
    }
}

/// Displays nanoseconds as milliseconds.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", Thousandths(self.0 / 1000))
    }
}

/// Returns the word for a way.
pub const fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

/// Returns the name of a part of a walk. `step_name_fn` returns that of a step.
pub fn part_name(kind: PartKind, step_name_fn: impl Fn(usize) -> StepName) -> StepName {
    let name = match kind {
        PartKind::Step { step, .. } => return step_name_fn(step),
        PartKind::Call => "call",
        PartKind::HandOver => "hand-over",
        PartKind::Others => "others",
        PartKind::Arrival => "arrival",
        PartKind::Grace => "grace",
        PartKind::Request => "stop:request",
        PartKind::Gather => "stop:gather",
        PartKind::Mask => "stop:mask",
        PartKind::Exit => "stop:exit",
        PartKind::Dead => "dead",
        PartKind::Departure => "departure",
        PartKind::Return => "return",
        PartKind::Between => "between",
    };
    StepName::from(name)
}
