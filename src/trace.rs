//! Three rings of typed events for each CPU. The first two are on unless the operator turns them off
//! (`tracing_on`); the third is off unless it is turned on, too (`events/enable`).
//!
//! ```text
//!   ring of a CPU's walks   events of the walks of CPU N      written by whatever walks CPU N
//!   ring of a CPU's stops   what CPU N does in still points   written by CPU N
//!   ring of its scheduling  what CPU N runs, which interrupts it takes and sends, and
//!                           which states of stops it publishes     written by CPU N
//! ```
//!
//! The calls of installations and removals for CPU N, which doesn't walk then, are in the first ring
//! too. So the last walk of a CPU stays, however many others the same control thread brings up or
//! takes down, and however often the machine stops. A writer takes no lock and never waits; an
//! event costs a handful of stores. Off, the trace points of the first two rings are one NOP each;
//! those of the third are none in a switch of threads and in an interrupt, where a call or a return
//! leads elsewhere (see [`patch`](crate::patch)), and one NOP where an SGI is sent or taken by hand. Its memory is
//! taken when it is first turned on ([`Trace::make_sched`]). Readers check each slot's sequence
//! number, and leave out a slot that is being overwritten.
//!
//! # Invariants
//! - **one-writer-per-ring**: only one thread writes a ring at a time, and nothing interrupts
//!   it by another event of that ring. Otherwise so many events could be written in the middle
//!   of an event that they reach its slot. The rings of a CPU's stops and of its scheduling are
//!   written by that CPU alone, with IRQs masked. The ring of its walks is written by the owner of
//!   the walk (`one-writer-of-state` of [`hotplug`](crate::hotplug)), and never by an interrupt
//!   handler.
//!   While no CPU walks, that is what installs or removes a step, or the CPU's `cpuhp` for it.
//! - **whole-slots-only**: a slot's `sequence` is 0 while it is being written, else one
//!   more than the event's number. A reader takes a slot only if it read the same
//!   non-zero number before and after.
//!
//! `tests/loom_trace.rs` model-checks both, from these files.

#![forbid(unsafe_code)]

mod governor;
mod ring;
mod sched;

use alloc::vec::Vec;
use core::array;
use core::borrow::Borrow;

use crate::config::{STOP_EVENTS, WALK_EVENTS};
use crate::cpu::{CpuId, PerCpu};
use crate::sync::{IrqGuard, LocalCpu, Once};
use crate::time::Instant;
use governor::GovernorRing;
use ring::{Ring, Slot};
use sched::SchedRing;

pub use governor::{
    GovernorEvent, GovernorRecord, Load, Reason, RecordedDecision, recorded_decisions,
};
pub use ring::Missing;
pub use sched::{NoMemory, SchedEvent, SchedRecord};

/// The direction of a walk through the state table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A CPU comes up: the startups run, in the order of the table.
    Up,
    /// A CPU goes down: the teardowns run, in the opposite order.
    Down,
}

/// What the time since the last event of a CPU's walk was, in which no step of it was walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Gap {
    /// Control was at work for other CPUs of the batch, or waited for them.
    Others,
    /// Control waited until the CPU had arrived.
    Arrival,
    /// Control waited for a grace period.
    Grace,
    /// Control waited until it could stop the machine.
    Request,
    /// Control waited until the CPU had said DEAD.
    Departure,
    /// The walk went over to control.
    HandOver,
}

impl Gap {
    const ALL: [Gap; 6] = [
        Gap::Others,
        Gap::Arrival,
        Gap::Grace,
        Gap::Request,
        Gap::Departure,
        Gap::HandOver,
    ];
}

/// An event of a hotplug walk or of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The control CPU begins a walk of `cpu`. It holds the hotplug lock, and no check has
    /// refused the walk.
    WalkBegin {
        /// The CPU that is to come or to go.
        cpu: CpuId,
        /// Whether it comes or goes.
        direction: Direction,
    },
    /// The walk of `cpu` is over, wherever it ended.
    WalkEnd {
        /// The CPU that came or went.
        cpu: CpuId,
    },
    /// The time since the last event of `cpu`'s walk gets a name. Written by the owner of the walk
    /// with the instant at which that time ended, which may be a while ago.
    Gap {
        /// The CPU that comes or goes.
        cpu: CpuId,
        /// What it was.
        was: Gap,
    },
    /// A step of `cpu`'s walk begins.
    StepBegin {
        /// The CPU that comes or goes.
        cpu: CpuId,
        /// The step's index in the state table.
        step: u8,
        /// Startup or teardown.
        direction: Direction,
    },
    /// A step of `cpu`'s walk has ended, with success or not.
    StepEnd {
        /// The CPU that comes or goes.
        cpu: CpuId,
        /// The step's index in the state table.
        step: u8,
        /// Startup or teardown.
        direction: Direction,
        /// Whether it succeeded.
        ok: bool,
    },
    /// The callback of a step that is installed or removed begins, on behalf of `cpu`, which isn't
    /// walking.
    CallBegin {
        /// The CPU that is past the step.
        cpu: CpuId,
        /// The step's index in the state table.
        step: u8,
        /// Startup or teardown.
        direction: Direction,
    },
    /// Such a callback has ended, with success or not.
    CallEnd {
        /// The CPU that is past the step.
        cpu: CpuId,
        /// The step's index in the state table.
        step: u8,
        /// Startup or teardown.
        direction: Direction,
        /// Whether it succeeded.
        ok: bool,
    },
    /// This CPU has arrived in a stop, or left it. The stop itself measures the time between.
    Stop {
        /// The number of PREPARE or of EXIT in `MultiStopState`.
        state: u8,
    },
    /// This CPU is about to leave through firmware.
    Dead,
}

impl Event {
    /// Returns the CPU in whose ring of walks the event is, or `None` if it is in none of them.
    #[inline(always)] // As `Trace::write`.
    const fn walk(self) -> Option<CpuId> {
        match self {
            Event::WalkBegin { cpu, .. }
            | Event::WalkEnd { cpu }
            | Event::Gap { cpu, .. }
            | Event::StepBegin { cpu, .. }
            | Event::StepEnd { cpu, .. }
            | Event::CallBegin { cpu, .. }
            | Event::CallEnd { cpu, .. } => Some(cpu),
            Event::Stop { .. } | Event::Dead => None,
        }
    }
}

/// An event with its time and its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The time of the event.
    pub at: Instant,
    /// The CPU that wrote the event.
    pub on: CpuId,
    /// The event.
    pub event: Event,
}

/// The rings of all possible CPUs.
pub struct Trace {
    walks: PerCpu<Ring<[Slot<1>; WALK_EVENTS], 1>>,
    stops: PerCpu<Ring<[Slot<1>; STOP_EVENTS], 1>>,
    sched: Once<PerCpu<SchedRing>>,
    governor: Once<GovernorRing>,
}

impl Trace {
    /// Returns empty rings for `cpus` CPUs.
    pub fn new(cpus: usize) -> Trace {
        Trace {
            walks: PerCpu::new(cpus, |_| Ring::new(array::from_fn(|_| Slot::new()))),
            stops: PerCpu::new(cpus, |_| Ring::new(array::from_fn(|_| Slot::new()))),
            sched: Once::new(),
            governor: Once::new(),
        }
    }

    /// Writes `event` into its ring. `here_fn` returns this CPU and the time; IRQs are masked
    /// where the ring is this CPU's own.
    ///
    /// # Context
    /// Any, once this CPU has been told SHOULD_ONLINE; for an event of a walk, the owner of
    /// the walk.
    #[inline(always)] // The kind of the event is known where it is written.
    pub fn write<E: LocalCpu>(&self, here_fn: impl FnOnce() -> (CpuId, Instant), event: Event) {
        match event.walk() {
            Some(cpu) => self.write_walk(cpu, here_fn, encode(event)),
            None => self.write_stop::<E>(here_fn, encode(event)),
        }
    }

    /// Writes `event`, which belongs to no walk, of `on`, this CPU, as [`Trace::write`] does,
    /// where IRQs are masked already.
    ///
    /// # Context
    /// Any, once this CPU has been told SHOULD_ONLINE.
    #[inline(always)] // As `write`.
    pub fn write_masked<E: LocalCpu>(
        &self,
        _masked: &IrqGuard<E>, // (one-writer-per-ring)
        on: CpuId,
        at: Instant,
        event: Event,
    ) {
        self.stops.get(on).put(at, [place_on(on, encode(event))]);
    }

    // The ring is the walk's owner's (one-writer-per-ring), so an interrupt may come between.
    #[inline(never)]
    fn write_walk(&self, cpu: CpuId, here_fn: impl FnOnce() -> (CpuId, Instant), word: u64) {
        let (on, at) = here_fn();
        self.walks.get(cpu).put(at, [place_on(on, word)]);
    }

    #[inline(never)]
    fn write_stop<E: LocalCpu>(&self, here_fn: impl FnOnce() -> (CpuId, Instant), word: u64) {
        let masked = IrqGuard::<E>::new(); // (one-writer-per-ring)
        let (on, at) = here_fn();
        self.stops.get(on).put(at, [place_on(on, word)]);
        // No preemption point is needed: nothing here makes a thread runnable, and a pending
        // interrupt has its own.
        masked.end_no_resched();
    }

    /// Returns the events of all rings for which `keep_fn` returns true, in the order of their
    /// time.
    ///
    /// # Context
    /// Thread; allocates.
    pub fn collect(&self, mut keep_fn: impl FnMut(&Record) -> bool) -> Vec<Record> {
        let mut records = Vec::new();
        let mut keep = |record: Record| {
            if keep_fn(&record) {
                records.push(record);
            }
        };
        for (_, ring) in self.walks.iter() {
            read(ring, &mut keep);
        }
        for (_, ring) in self.stops.iter() {
            read(ring, &mut keep);
        }
        records.sort_by_key(|record| record.at);
        records
    }

    /// Returns the events of the walks of `cpu` from `since` on, in the order of their time.
    ///
    /// # Context
    /// Thread; allocates.
    pub fn walks_of(&self, cpu: CpuId, since: Instant) -> Vec<Record> {
        let mut records = Vec::new();
        read(self.walks.get(cpu), &mut |record| {
            if record.at >= since {
                records.push(record);
            }
        });
        records
    }

    /// Returns how many events of walks and stops the rings have had besides those that they have.
    ///
    /// # Context
    /// Thread.
    pub fn missing(&self) -> Missing {
        let mut missing = Missing::default();
        for (_, ring) in self.walks.iter() {
            missing.add(read(ring, &mut |_| {}));
        }
        for (_, ring) in self.stops.iter() {
            missing.add(read(ring, &mut |_| {}));
        }
        missing
    }

    /// Returns the index of the step that `cpu` was passing a moment ago, in a walk or because it
    /// is installed or removed, if it was in one.
    ///
    /// # Context
    /// Any; doesn't wait.
    pub fn passing_racy(&self, cpu: CpuId) -> Option<u8> {
        let mut passing = None;
        read(self.walks.get(cpu), &mut |record| match record.event {
            Event::StepBegin { step, .. } | Event::CallBegin { step, .. } => passing = Some(step),
            Event::StepEnd { .. } | Event::CallEnd { .. } => passing = None,
            _ => {}
        });
        passing
    }

    /// Adds to `records` what all CPUs have done in still points from `since` on, and returns
    /// from when on the rings still have all of that.
    ///
    /// # Context
    /// Thread; allocates.
    pub fn add_stops(&self, since: Instant, records: &mut Vec<Record>) -> Instant {
        let mut kept = Instant(0);
        for (_, ring) in self.stops.iter() {
            let mut oldest = None;
            let missing = read(ring, &mut |record| {
                oldest.get_or_insert(record.at);
                if record.at >= since {
                    records.push(record);
                }
            });
            if missing.lost > 0 {
                kept = kept.max(oldest.unwrap_or(Instant::FOREVER));
            }
        }
        records.sort_by_key(|record| record.at);
        kept
    }
}

/// Calls `each_fn` with the events that `ring` has, oldest first; returns how many it has had
/// besides.
fn read<S: Borrow<[Slot<1>]>>(ring: &Ring<S, 1>, each_fn: &mut impl FnMut(Record)) -> Missing {
    ring.read(0, &mut |_, at, [word]| {
        if let Some((on, event)) = decode(word) {
            each_fn(Record { at, on, event });
        }
    })
}

/// Returns `event` as one word: its kind in bits 7:0, its step, state or gap in 15:8, flags in
/// 23:16, its CPU in 47:32. [`place_on`] adds the rest.
#[inline(always)]
fn encode(event: Event) -> u64 {
    let step = |kind: u64, cpu: CpuId, step: u8, direction, ok: bool| {
        let flags = u64::from(direction == Direction::Down) | u64::from(ok) << 1;
        kind | u64::from(step) << 8 | flags << 16 | (cpu.index() as u64) << 32
    };
    match event {
        Event::StepBegin {
            cpu,
            step: index,
            direction,
        } => step(1, cpu, index, direction, false),
        Event::StepEnd {
            cpu,
            step: index,
            direction,
            ok,
        } => step(2, cpu, index, direction, ok),
        Event::Stop { state } => 3 | u64::from(state) << 8,
        Event::Dead => 4,
        Event::WalkBegin { cpu, direction } => step(5, cpu, 0, direction, false),
        Event::WalkEnd { cpu } => step(6, cpu, 0, Direction::Up, false),
        Event::Gap { cpu, was } => step(7, cpu, was as u8, Direction::Up, false),
        Event::CallBegin {
            cpu,
            step: index,
            direction,
        } => step(8, cpu, index, direction, false),
        Event::CallEnd {
            cpu,
            step: index,
            direction,
            ok,
        } => step(9, cpu, index, direction, ok),
    }
}

/// Returns `word`, an encoded event, with the CPU that writes it in bits 63:48.
#[inline(always)]
const fn place_on(on: CpuId, word: u64) -> u64 {
    word | (on.index() as u64) << 48
}

/// Returns the event that `word` encodes and the CPU that wrote it, or `None` if it encodes
/// none.
fn decode(word: u64) -> Option<(CpuId, Event)> {
    let [kind, small, flags, _, of @ .., on_low, on_high] = word.to_le_bytes();
    let direction = if flags & 1 == 0 {
        Direction::Up
    } else {
        Direction::Down
    };
    let number = |bytes| CpuId::new(u16::from_le_bytes(bytes).into());
    let cpu = number(of)?;
    let event = match kind {
        1 => Event::StepBegin {
            cpu,
            step: small,
            direction,
        },
        2 => Event::StepEnd {
            cpu,
            step: small,
            direction,
            ok: flags & 2 != 0,
        },
        3 => Event::Stop { state: small },
        4 => Event::Dead,
        5 => Event::WalkBegin { cpu, direction },
        6 => Event::WalkEnd { cpu },
        7 => Event::Gap {
            cpu,
            was: *Gap::ALL.get(usize::from(small))?,
        },
        8 => Event::CallBegin {
            cpu,
            step: small,
            direction,
        },
        9 => Event::CallEnd {
            cpu,
            step: small,
            direction,
            ok: flags & 2 != 0,
        },
        _ => return None,
    };
    Some((number([on_low, on_high])?, event))
}

#[cfg(test)]
mod tests;
