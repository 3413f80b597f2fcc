//! The phases of the walks of one CPU, from the trace rings. Those of a walk follow each other
//! without a gap, so they add up to it.

use alloc::format;
use alloc::vec::Vec;

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{
    Part, PartKind, RecordedWalk, UP_TO_ALIVE, UP_TO_ONLINE, recorded_walks,
};
use stillpoint::kernel::kernel;
use stillpoint::time::Instant;
use stillpoint::trace::Direction;

use crate::support::lines::print_line;
use crate::support::rounds::ns;

/// The phases of a way up, in their order.
const UP: [&str; 5] = ["prep", "alive", "init", "threads", "return"];
/// Those of a way down.
const DOWN: [&str; 5] = ["call", "threads", "stop", "off", "return"];

/// How long each phase took, in each walk.
pub(crate) struct Phases {
    /// The row of `sync:alive`.
    alive: usize,
    up: [Vec<u64>; UP.len()],
    down: [Vec<u64>; DOWN.len()],
}

impl Phases {
    pub(crate) fn new() -> Phases {
        let mut steps = kernel().hotplug.steps().iter();
        let alive = steps.position(|step| step.name == "sync:alive");
        Phases {
            alive: alive.expect("the table has it"),
            up: Default::default(),
            down: Default::default(),
        }
    }

    /// Adds the walks of `cpu` that began at `since` or later.
    pub(crate) fn add(&mut self, cpu: CpuId, since: Instant) {
        let trace = &kernel().trace;
        let mut records = trace.walks_of(cpu, since);
        let stops_from = trace.add_stops(since, &mut records);
        for walk in recorded_walks(cpu, &records, stops_from) {
            if walk.whole {
                self.add_walk(&walk);
            }
        }
    }

    fn add_walk(&mut self, walk: &RecordedWalk) {
        let began = self.begins(walk);
        let ends = began[1..].iter().copied().chain([walk.ended]);
        let samples = match walk.direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        for ((samples, began), ended) in samples.iter_mut().zip(began).zip(ends) {
            samples.push(ns(ended.ticks_since(began)));
        }
    }

    /// Returns when each phase of `walk` began.
    fn begins(&self, walk: &RecordedWalk) -> [Instant; UP.len()] {
        let mut begins = [walk.began; UP.len()];
        let mut phase = 0;
        for (nth, part) in walk.parts.iter().enumerate() {
            // What lies before a step belongs to it.
            let is_gap = part.kind == PartKind::HandOver;
            let of = if is_gap {
                walk.parts.get(nth + 1)
            } else {
                Some(part)
            };
            let next = of.and_then(|of| self.phase(walk.direction, of));
            let Some(next) = next.filter(|next| *next > phase) else {
                continue;
            };
            begins[phase + 1..].fill(part.at);
            phase = next;
        }
        if phase + 1 < begins.len() {
            begins[phase + 1..].fill(walk.ended);
        }
        begins
    }

    /// Returns the index of the phase that `part` is in.
    fn phase(&self, direction: Direction, part: &Part) -> Option<usize> {
        let PartKind::Step { step, .. } = part.kind else {
            return match part.kind {
                PartKind::Call => Some(0),
                PartKind::Request | PartKind::Gather | PartKind::Mask | PartKind::Exit => Some(2),
                PartKind::Return => Some(4),
                _ => None,
            };
        };
        Some(match direction {
            Direction::Up if step < self.alive => 0,
            Direction::Up if step < UP_TO_ALIVE => 1,
            Direction::Up if step < UP_TO_ONLINE => 2,
            Direction::Up => 3,
            Direction::Down if step < UP_TO_ALIVE => 3,
            Direction::Down if step < UP_TO_ONLINE => 2,
            Direction::Down => 1,
        })
    }

    /// Prints a line for each phase.
    pub(crate) fn print(self, warm_up: usize) {
        let up = UP
            .iter()
            .zip(self.up)
            .map(|(name, it)| ("cpu_up", name, it));
        let down = DOWN.iter().zip(self.down);
        let down = down.map(|(name, it)| ("cpu_down", name, it));
        for (op, name, samples) in down.chain(up) {
            if !samples.is_empty() {
                print_line(&format!("{op}.{name}"), samples, warm_up);
            }
        }
    }
}
