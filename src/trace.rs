//! A ring of typed events for each CPU, always on.
//!
//! Each CPU writes only its own ring. It takes no lock and never waits; an event costs a
//! handful of stores. Readers on other CPUs check each slot's sequence number, and leave out
//! a slot that is being overwritten.
//!
//! # Invariants
//! - **one-writer-per-ring**: only one CPU writes a ring, with IRQs masked. So neither an
//!   interrupt nor another thread of that CPU writes in the middle of an event. Otherwise it
//!   could write so many events that it reaches the slot of the unfinished one.
//! - **whole-slots-only**: a slot's `sequence` is 0 while it is being written, else one
//!   more than the event's number. A reader takes a slot only if it read the same
//!   non-zero number before and after.
//!
//! `tests/loom_trace.rs` model-checks both, from this file.

#![forbid(unsafe_code)]

use alloc::vec::Vec;

use crate::config::TRACE_EVENTS;
use crate::cpu::{CpuId, PerCpu};
use crate::sync::atomic::{AtomicU64, Ordering, fence};
use crate::sync::{IrqGuard, LocalCpu};
use crate::time::Instant;

/// The direction of a walk through the state table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A CPU comes up: the startups run, in the order of the table.
    Up,
    /// A CPU goes down: the teardowns run, in the opposite order.
    Down,
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
    /// This CPU has arrived in a stop, or left it. The stop itself measures the time between.
    Stop {
        /// The number of PREPARE or of EXIT in `MultiStopState`.
        state: u8,
    },
    /// This CPU is about to leave through firmware.
    Dead,
}

/// An event with its time and its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The time of the event.
    pub at: Instant,
    /// The CPU that wrote the event, into its own ring.
    pub on: CpuId,
    /// The event.
    pub event: Event,
}

/// The place of one event in a ring.
struct Slot {
    /// Stored with Release after the words, loaded with Acquire before them
    /// (whole-slots-only).
    sequence: AtomicU64,
    /// The counter's value at the event. Relaxed: ordered by `sequence`.
    at: AtomicU64,
    /// The event, encoded. Relaxed: ordered by `sequence`.
    event: AtomicU64,
}

/// The events of one CPU.
struct Ring {
    /// The number of the next event. Relaxed: one CPU writes it (one-writer-per-ring).
    next: AtomicU64,
    slots: [Slot; TRACE_EVENTS],
}

/// The rings of all possible CPUs.
pub struct Trace {
    rings: PerCpu<Ring>,
}

impl Trace {
    /// Returns empty rings for `cpus` CPUs.
    pub fn new(cpus: usize) -> Trace {
        Trace {
            rings: PerCpu::new(cpus, |_| Ring {
                next: AtomicU64::new(0),
                slots: core::array::from_fn(|_| Slot {
                    sequence: AtomicU64::new(0),
                    at: AtomicU64::new(0),
                    event: AtomicU64::new(0),
                }),
            }),
        }
    }

    /// Writes `event` into the ring of this CPU. `here_fn`, which is called with IRQs masked,
    /// returns this CPU and the time.
    ///
    /// # Context
    /// Any, once this CPU has been told SHOULD_ONLINE.
    #[inline(always)] // The kind of the event is known where it is written.
    pub fn write<E: LocalCpu>(&self, here_fn: impl FnOnce() -> (CpuId, Instant), event: Event) {
        self.write_word::<E>(here_fn, encode(event));
    }

    /// Writes `event` of `on`, this CPU, as [`Trace::write`] does, where IRQs are masked already.
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
        self.put(on, at, encode(event));
    }

    #[inline(never)]
    fn write_word<E: LocalCpu>(&self, here_fn: impl FnOnce() -> (CpuId, Instant), word: u64) {
        let masked = IrqGuard::<E>::new(); // (one-writer-per-ring)
        let (on, at) = here_fn();
        self.put(on, at, word);
        // No preemption point is needed: nothing here makes a thread runnable, and a pending
        // interrupt has its own.
        masked.end_no_resched();
    }

    #[inline]
    fn put(&self, on: CpuId, at: Instant, word: u64) {
        let ring = self.rings.get(on);
        let number = ring.next.load(Ordering::Relaxed);
        let next = number.wrapping_add(1);
        ring.next.store(next, Ordering::Relaxed);
        let slot = &ring.slots[place(number)];
        slot.sequence.store(0, Ordering::Relaxed);
        fence(Ordering::Release); // The 0 before the words: pairs with the reader's Acquire fence.
        slot.at.store(at.0, Ordering::Relaxed);
        slot.event.store(word, Ordering::Relaxed);
        slot.sequence.store(next, Ordering::Release);
    }

    /// Returns the events of all rings for which `keep_fn` returns true, in the order of their
    /// time.
    ///
    /// # Context
    /// Thread; allocates.
    pub fn collect(&self, mut keep_fn: impl FnMut(&Record) -> bool) -> Vec<Record> {
        let mut records = Vec::new();
        for (on, ring) in self.rings.iter() {
            // Relaxed: each slot's own sequence number tells what it holds (whole-slots-only).
            let end = ring.next.load(Ordering::Relaxed);
            let begin = end.saturating_sub(TRACE_EVENTS as u64);
            for number in begin..end {
                if let Some((at, event)) = read(&ring.slots[place(number)], number) {
                    let record = Record { at, on, event };
                    if keep_fn(&record) {
                        records.push(record);
                    }
                }
            }
        }
        records.sort_by_key(|record| record.at);
        records
    }
}

/// Returns the index of the slot of event `number`.
fn place(number: u64) -> usize {
    usize::try_from(number % TRACE_EVENTS as u64).expect("BUG: a ring's size fits")
}

/// Returns the event of number `number`, or `None` if `slot` doesn't hold it whole.
fn read(slot: &Slot, number: u64) -> Option<(Instant, Event)> {
    if slot.sequence.load(Ordering::Acquire) != number + 1 {
        return None;
    }
    let at = Instant(slot.at.load(Ordering::Relaxed));
    let word = slot.event.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    if slot.sequence.load(Ordering::Relaxed) != number + 1 {
        return None;
    }
    Some((at, decode(word)?))
}

/// Returns `event` as one word: its kind in bits 7:0, its step or state in 15:8, flags in
/// 23:16, its CPU in 47:32.
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
    }
}

/// Returns the event that `word` encodes, or `None` if it encodes none.
fn decode(word: u64) -> Option<Event> {
    let [kind, small, flags, ..] = word.to_le_bytes();
    let direction = if flags & 1 == 0 {
        Direction::Up
    } else {
        Direction::Down
    };
    let cpu = CpuId::new(usize::try_from(word >> 32).ok()?)?;
    match kind {
        1 => Some(Event::StepBegin {
            cpu,
            step: small,
            direction,
        }),
        2 => Some(Event::StepEnd {
            cpu,
            step: small,
            direction,
            ok: flags & 2 != 0,
        }),
        3 => Some(Event::Stop { state: small }),
        4 => Some(Event::Dead),
        5 => Some(Event::WalkBegin { cpu, direction }),
        6 => Some(Event::WalkEnd { cpu }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(index: usize) -> CpuId {
        CpuId::new(index).expect("small")
    }

    #[test]
    fn every_event_survives_its_encoding() {
        let step = |direction, ok| Event::StepEnd {
            cpu: cpu(511),
            step: 11,
            direction,
            ok,
        };
        for event in [
            step(Direction::Up, true),
            step(Direction::Down, false),
            Event::StepBegin {
                cpu: cpu(3),
                step: 0,
                direction: Direction::Down,
            },
            Event::Stop { state: 4 },
            Event::Dead,
            Event::WalkBegin {
                cpu: cpu(511),
                direction: Direction::Down,
            },
            Event::WalkEnd { cpu: cpu(1) },
        ] {
            assert_eq!(decode(encode(event)), Some(event));
        }
        assert_eq!(decode(0), None);
    }

    #[test]
    fn the_last_events_of_all_rings_come_out_by_time() {
        let trace = Trace::new(2);
        for number in 0..TRACE_EVENTS as u64 + 5 {
            trace.put(
                cpu(0),
                Instant(2 * number),
                encode(Event::Stop { state: 0 }),
            );
        }
        trace.put(cpu(1), Instant(101), encode(Event::Dead));
        let all = trace.collect(|_| true);
        assert_eq!(all.len(), TRACE_EVENTS + 1);
        assert_eq!(all[0].at, Instant(10));
        assert!(all.is_sorted_by_key(|record| record.at));
        let dead = trace.collect(|record| record.event == Event::Dead);
        assert_eq!((dead.len(), dead[0].on), (1, cpu(1)));
    }
}
