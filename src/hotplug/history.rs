//! Walks as the trace rings hold them: the steps of each, and what lay between the
//! steps, so that the parts of a walk add up to the whole.
//!
//! ```text
//!   call │ steps of control │ hand-over │ steps on the CPU │ … │ return
//!
//!   and in the middle of a take-down, between two hand-overs:
//!   stop:request │ stop:gather │ stop:mask │ INIT steps │ stop:exit
//!                └─ first arrival ─ last   └─ IRQs off everywhere ─┘
//! ```
//!
//! Steps that follow each other on one CPU have a few instructions between them, for
//! the counters and the trace itself. Those are summed in one part, `between`.
//!
//! Where several CPUs come or go together, they wait for each other: control calls them all before
//! it waits for the first, and their threads begin when all of them have come so far. Such a time
//! has a record that says what it was ([`Event::Gap`]): a part `others`, in which control was at
//! work for the other CPUs or waited for them, or one in which it waited for this one, or for all
//! at once. A thread `cpuhp` writes itself how long it has waited until control turned to it:
//! before that the walk is in other hands. So a hand-over is what it says, one of this CPU.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::config::WALK_EVENTS;
use crate::cpu::CpuId;
use crate::hotplug::{
    ALL_UP, HotplugHost, Part, PartKind, UP_TO_ALIVE, UP_TO_ONLINE, UP_TO_POST_DEAD,
};
use crate::stop_machine::MultiStopState;
use crate::time::Instant;
use crate::trace::{Direction, Event, Gap, Record};

/// How many gaps a walk has at most that have a name. On the way down: before each of the two
/// walks in its thread, before and in the grace period, before the stop; two before
/// `sync:timers`, three until `sync:alive`, and one before the end. The way up has fewer.
const GAPS: usize = 11;

// A walk that passes all slots stays whole.
const _: () = assert!(cfg!(loom) || 2 * ALL_UP + 2 + GAPS <= WALK_EVENTS);

/// One walk of one CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedWalk {
    /// The CPU that came or went.
    pub cpu: CpuId,
    /// Which of the two was wanted.
    pub direction: Direction,
    /// When control began, or as far back as the rings go.
    pub began: Instant,
    /// When control was done, or when the last record was written.
    pub ended: Instant,
    /// Whether the rings hold all of it. If not all of its still point is left, none of it is
    /// told.
    pub whole: bool,
    /// The index of the step that failed, if one did.
    pub failed: Option<usize>,
    /// Whether some of the steps went the other way.
    pub turned_back: bool,
    /// For how many ticks interrupts were off in its still point: from the arrival of
    /// the last CPU until the last CPU left.
    pub irqs_off: Option<u64>,
    /// What it was made of, in order. The ticks of all parts are those from `began` to
    /// `ended`.
    pub parts: Vec<Part>,
}

impl RecordedWalk {
    /// Returns the part that took longest, the first of them, of those that the CPU's own walk
    /// is made of: all but [`PartKind::Others`], and [`PartKind::Between`], which is the sum of
    /// many. `None` if none of them took any time.
    pub fn longest(&self) -> Option<&Part> {
        let is_own = |part: &&Part| !matches!(part.kind, PartKind::Others | PartKind::Between);
        let parts = self.parts.iter().filter(is_own);
        let parts = parts.filter(|part| part.ticks > 0);
        parts.reduce(|longest, part| {
            if part.ticks > longest.ticks {
                part
            } else {
                longest
            }
        })
    }

    /// Returns for how many ticks control was at work for other CPUs of the batch, or waited for
    /// them.
    pub fn for_others(&self) -> u64 {
        let parts = self.parts.iter();
        let others = parts.filter(|part| part.kind == PartKind::Others);
        others.map(|part| part.ticks).sum()
    }
}

/// Writes the two events that the walk of a CPU lies between: one when it is made, the other when
/// it is dropped.
pub(super) struct Recorded<P: HotplugHost>(CpuId, PhantomData<fn() -> P>);

/// Writes that control begins to walk `cpu`.
pub(super) fn trace_begin<P: HotplugHost>(cpu: CpuId, direction: Direction) {
    P::trace(Event::WalkBegin { cpu, direction });
}

/// Writes what the time since the last event of the walk of `cpu` was. Control owns the walk.
pub(super) fn trace_gap<P: HotplugHost>(cpu: CpuId, was: Gap) {
    P::trace(Event::Gap { cpu, was });
}

impl<P: HotplugHost> Recorded<P> {
    pub(super) fn new(cpu: CpuId, direction: Direction) -> Self {
        trace_begin::<P>(cpu, direction);
        Recorded(cpu, PhantomData)
    }
}

impl<P: HotplugHost> Drop for Recorded<P> {
    fn drop(&mut self) {
        P::trace(Event::WalkEnd { cpu: self.0 });
    }
}

/// Returns the walks of `cpu` in `records`, which are in the order of their time. What CPUs did
/// in still points is all there from `stops_from` on.
pub fn recorded_walks(cpu: CpuId, records: &[Record], stops_from: Instant) -> Vec<RecordedWalk> {
    let mut walks = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (walk, after) = rest.split_at(first_walk(cpu, rest));
        walks.extend(recorded_walk(cpu, walk, stops_from));
        rest = after;
    }
    walks
}

/// Returns whether a walk in `records`, events of walks, goes through a still point.
pub fn pass_a_still_point(records: &[Record]) -> bool {
    records.iter().any(|record| {
        let Event::StepBegin {
            step, direction, ..
        } = record.event
        else {
            return false;
        };
        direction == Direction::Down && (UP_TO_ALIVE..UP_TO_ONLINE).contains(&usize::from(step))
    })
}

/// Returns how many of `records`, which are not empty, end the first walk of `cpu` in
/// them: up to its end, or to the beginning of the next.
fn first_walk(cpu: CpuId, records: &[Record]) -> usize {
    let later = records.iter().enumerate().skip(1);
    let begins = later.clone().find_map(|(index, record)| {
        matches!(record.event, Event::WalkBegin { cpu: of, .. } if of == cpu).then_some(index)
    });
    let ends = later.clone().find_map(|(index, record)| {
        matches!(record.event, Event::WalkEnd { cpu: of } if of == cpu).then_some(index + 1)
    });
    let all = records.len();
    begins.unwrap_or(all).min(ends.unwrap_or(all))
}

/// Returns what `records` tell of one walk of `cpu`; `None` if they hold no step of it.
fn recorded_walk(cpu: CpuId, records: &[Record], stops_from: Instant) -> Option<RecordedWalk> {
    let first_step = records
        .iter()
        .position(|record| matches!(record.event, Event::StepBegin { cpu: of, .. } if of == cpu))?;
    let began = match records[0].event {
        Event::WalkBegin { cpu: of, direction } if of == cpu => Some(direction),
        _ => None,
    };
    // Without a beginning the walk starts at the first step that is left of it.
    let records = &records[if began.is_some() { 0 } else { first_step }..];
    let last = records.last()?;
    let is_over = matches!(last.event, Event::WalkEnd { cpu: of } if of == cpu);

    let has_stops = records[0].at >= stops_from;
    let still = StillPoint::of(records).filter(|_| has_stops);
    let mut entries: Vec<Entry> = still.iter().flat_map(StillPoint::entries).collect();
    entries.extend(records.iter().filter_map(|record| named_gap(cpu, record)));
    let steps = step_entries(cpu, records, &mut entries);
    let direction = began.or(steps.first_direction)?;
    let (began_at, ended_at) = (records[0].at, last.at);
    let mut parts = lay_out(entries, began_at, ended_at, last.on);
    let is_dead = |record: &&Record| record.event == Event::Dead && record.on == cpu;
    if let Some(dead) = records.iter().find(is_dead) {
        let place = parts.partition_point(|part| part.at <= dead.at);
        let part = Part {
            at: dead.at,
            on: cpu,
            kind: PartKind::Dead,
            ticks: 0,
        };
        parts.insert(place, part);
    }
    Some(RecordedWalk {
        cpu,
        direction,
        began: began_at,
        ended: ended_at,
        whole: began.is_some() && is_over && (has_stops || !pass_a_still_point(records)),
        failed: steps.failed,
        turned_back: entries_turn_back(&parts, direction),
        irqs_off: still.map(|still| still.left.at.ticks_since(still.gathered.at)),
        parts,
    })
}

fn entries_turn_back(parts: &[Part], wanted: Direction) -> bool {
    parts
        .iter()
        .any(|part| matches!(part.kind, PartKind::Step { direction, .. } if direction != wanted))
}

/// Something with a beginning and an end; what lies between two of these is named
/// after both.
#[derive(Clone, Copy)]
struct Entry {
    from: Instant,
    to: Instant,
    on: CpuId,
    kind: PartKind,
}

/// The still point of a walk.
struct StillPoint {
    /// The first arrival.
    first: Record,
    /// The last arrival.
    gathered: Record,
    /// The last to leave.
    left: Record,
}

impl StillPoint {
    /// While control holds the hotplug lock there is no other still point than its own. It
    /// releases the lock before the last steps of a way down.
    fn of(records: &[Record]) -> Option<StillPoint> {
        let is_released = |record: &Record| {
            let Event::StepBegin {
                step, direction, ..
            } = record.event
            else {
                return false;
            };
            usize::from(step) < UP_TO_POST_DEAD && direction == Direction::Down
        };
        let end = records.iter().position(is_released);
        let records = &records[..end.unwrap_or(records.len())];
        let of = |state: MultiStopState| {
            let event = Event::Stop { state: state as u8 };
            records.iter().filter(move |record| record.event == event)
        };
        Some(StillPoint {
            first: *of(MultiStopState::Prepare).next()?,
            gathered: *of(MultiStopState::Prepare).next_back()?,
            left: *of(MultiStopState::Exit).next_back()?,
        })
    }

    fn entries(&self) -> [Entry; 2] {
        [
            Entry {
                from: self.first.at,
                to: self.gathered.at,
                on: self.gathered.on,
                kind: PartKind::Gather,
            },
            // A moment: what came before it is named after it.
            Entry {
                from: self.left.at,
                to: self.left.at,
                on: self.left.on,
                kind: PartKind::Exit,
            },
        ]
    }
}

/// Returns the moment up to which the time before `record` has a name, if that is what it says.
fn named_gap(cpu: CpuId, record: &Record) -> Option<Entry> {
    let Event::Gap { cpu: of, was } = record.event else {
        return None;
    };
    (of == cpu).then_some(Entry {
        from: record.at,
        to: record.at,
        on: record.on,
        kind: was.into(),
    })
}

/// What the steps of a walk tell of all of it.
struct Steps {
    first_direction: Option<Direction>,
    failed: Option<usize>,
}

/// Adds the steps of `cpu` in `records` to `entries`.
fn step_entries(cpu: CpuId, records: &[Record], entries: &mut Vec<Entry>) -> Steps {
    let mut steps = Steps {
        first_direction: None,
        failed: None,
    };
    for (index, record) in records.iter().enumerate() {
        let Event::StepBegin {
            cpu: of,
            step,
            direction,
        } = record.event
        else {
            continue;
        };
        if of != cpu {
            continue;
        }
        let end = records[index + 1..]
            .iter()
            .find_map(|later| match later.event {
                Event::StepEnd {
                    cpu: of,
                    step: ended,
                    direction: way,
                    ok,
                } if (of, ended, way) == (cpu, step, direction) => Some((later.at, ok)),
                _ => None,
            });
        let step = usize::from(step);
        steps.first_direction.get_or_insert(direction);
        if let Some((_, false)) = end {
            steps.failed.get_or_insert(step);
        }
        entries.push(Entry {
            from: record.at,
            to: end.map_or(record.at, |(at, _)| at),
            on: record.on,
            kind: PartKind::Step {
                step,
                direction,
                done: end.map(|(_, ok)| ok),
            },
        });
    }
    steps
}

/// Returns the parts from `began` to `ended`: the entries, and what lies between them.
fn lay_out(mut entries: Vec<Entry>, began: Instant, ended: Instant, control: CpuId) -> Vec<Part> {
    entries.sort_by_key(|entry| entry.from);
    let mut parts = Vec::new();
    let mut between = 0;
    let mut until = began;
    let mut before: Option<Entry> = None;
    for entry in entries {
        let gap = entry.from.ticks_since(until);
        match gap_before(before, entry) {
            PartKind::Between => between += gap,
            _ if gap == 0 => {}
            kind => parts.push(Part {
                at: until,
                on: entry.on,
                kind,
                ticks: gap,
            }),
        }
        if !entry.kind.is_moment() {
            parts.push(Part {
                at: entry.from,
                on: entry.on,
                kind: entry.kind,
                ticks: entry.to.ticks_since(until.max(entry.from)),
            });
        }
        until = until.max(entry.to);
        before = Some(entry);
    }
    for (kind, at, ticks) in [
        (PartKind::Return, until, ended.ticks_since(until)),
        (PartKind::Between, ended, between),
    ] {
        if ticks > 0 {
            let on = control;
            parts.push(Part {
                at,
                on,
                kind,
                ticks,
            });
        }
    }
    parts
}

/// Returns what the time between `before` and `entry` is.
fn gap_before(before: Option<Entry>, entry: Entry) -> PartKind {
    if entry.kind.is_moment() {
        return entry.kind;
    }
    let Some(before) = before else {
        return PartKind::Call;
    };
    match (before.kind, entry.kind) {
        (_, PartKind::Gather) => PartKind::Request,
        (PartKind::Gather, _) => PartKind::Mask,
        (PartKind::Exit, _) => PartKind::HandOver,
        (PartKind::Step { step: one, .. }, PartKind::Step { step: next, .. }) => {
            if (before.on, walked_by(one)) == (entry.on, walked_by(next)) {
                PartKind::Between
            } else {
                PartKind::HandOver
            }
        }
        // Control, which named the gap, goes on with a step.
        (_, PartKind::Step { step, .. }) if walked_by(step) == 0 => PartKind::Between,
        _ => PartKind::HandOver,
    }
}

/// Returns what walks a step: control, the CPU itself with IRQs off, or its `cpuhp`
/// thread.
fn walked_by(step: usize) -> usize {
    usize::from(step >= UP_TO_ALIVE) + usize::from(step >= UP_TO_ONLINE)
}
