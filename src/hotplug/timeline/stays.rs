//! What CPUs did in still points, and in which states these were meanwhile.

use alloc::vec::Vec;

use super::sched_history::PublishedState;
use crate::cpu::CpuId;
use crate::stop_machine::MultiStopState;
use crate::time::Instant;
use crate::trace::{Event, Record};

/// The time of one CPU in one stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedStay {
    /// The CPU.
    pub on: CpuId,
    /// When it arrived.
    pub at: Instant,
    /// How long it stayed.
    pub ticks: u64,
    /// Whether the stop was given up.
    pub given_up: bool,
}

/// Returns the stays in `records`, which are in the order of their time. One whose beginning or end
/// isn't recorded is left out.
pub fn recorded_stays(records: &[Record]) -> Vec<RecordedStay> {
    const ARRIVED: u8 = MultiStopState::Prepare as u8;
    const LEFT: u8 = MultiStopState::Exit as u8;
    const GIVEN_UP: u8 = MultiStopState::Abort as u8;
    let mut arrived: Vec<&Record> = Vec::new();
    let mut stays = Vec::new();
    for record in records {
        let Event::Stop { state } = record.event else {
            continue;
        };
        let before = arrived.iter().position(|other| other.on == record.on);
        let before = before.map(|place| arrived.swap_remove(place));
        match (state, before) {
            (ARRIVED, _) => arrived.push(record),
            (LEFT | GIVEN_UP, Some(before)) => stays.push(RecordedStay {
                on: record.on,
                at: before.at,
                ticks: record.at.ticks_since(before.at),
                given_up: state == GIVEN_UP,
            }),
            _ => (),
        }
    }
    stays
}

/// The time of one state of a stop, as far as a CPU was in the stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatePart {
    pub(super) name: &'static str,
    pub(super) at: Instant,
    pub(super) ticks: u64,
}

impl RecordedStay {
    /// Returns the states of the stop during this stay, in their order. `published` is in the order
    /// of time. A state whose beginning or end isn't recorded is left out. A stop that was given up
    /// has none: only PREPARE has begun, and it has no end.
    pub(super) fn states(&self, published: &[PublishedState]) -> impl Iterator<Item = StatePart> {
        let left = Instant(self.at.0 + self.ticks);
        let first = published.partition_point(|state| state.at < self.at);
        let mut during = published[first..]
            .iter()
            .take_while(|state| state.at <= left)
            .filter(|state| state.concerns(self.on));
        // They are published in this order.
        let mut when = |wanted| {
            let found = during.clone().position(|state| state.is(wanted))?;
            during.nth(found).map(|state| state.at)
        };
        let bounds = [
            Some(self.at),
            when(MultiStopState::DisableIrq),
            when(MultiStopState::Run),
            when(MultiStopState::Exit),
            Some(left),
        ];
        const NAMES: [&str; 4] = ["prepare", "disable_irq", "run", "exit"];
        let part = move |(index, name): (usize, _)| {
            let (at, end) = (bounds[index]?, bounds[index + 1]?);
            let ticks = end.0.checked_sub(at.0)?;
            Some(StatePart { name, at, ticks })
        };
        NAMES.into_iter().enumerate().filter_map(part)
    }
}
