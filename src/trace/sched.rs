//! Scheduling events: what a CPU runs, the interrupts that it takes and sends, and the states of the
//! stops that it publishes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::ring::{Missing, Ring, Slot};
use crate::config::{MASK_WORDS, SCHED_EVENTS};
use crate::cpu::{CpuId, CpuMask, PerCpu};
use crate::platform::ThreadName;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{IrqGuard, LocalCpu};
use crate::time::Instant;
use crate::trace::Trace;

/// How many words an event takes: its kind and numbers, then a name or the bits of a mask.
const WORDS: usize = 1 + DETAIL;
/// How many of them are a name or the bits of a mask.
const DETAIL: usize = ThreadName::WORDS;

/// The ring of one CPU's scheduling events.
pub(super) struct SchedRing {
    ring: Ring<Box<[Slot<WORDS>]>, WORDS>,
    /// The number of the first event since they are recorded again. Relaxed: written while no event
    /// is, which the caller orders.
    first: AtomicU64,
}

/// An event of the scheduler, of interrupts or of a stop, on the CPU that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedEvent {
    /// The CPU goes over to a thread.
    Switch {
        /// The thread's number.
        thread: u32,
        /// The thread's name.
        name: ThreadName,
        /// Whether it is the CPU's idle thread.
        is_idle: bool,
    },
    /// The handler of an interrupt begins.
    IrqBegin {
        /// The interrupt's number.
        intid: u32,
    },
    /// The handler of an interrupt has ended.
    IrqEnd {
        /// Whether it has made a thread due that takes the CPU next.
        makes_due: bool,
    },
    /// The CPU sends an SGI.
    Sgi {
        /// The SGI's number.
        number: u8,
        /// Which word of the mask of its targets `targets` begins with.
        first_word: u8,
        /// Words of the mask of its targets. All others are in other events, if they aren't 0.
        targets: [u64; DETAIL],
    },
    /// The CPU publishes a state of a stop.
    State {
        /// Its number in `MultiStopState`.
        state: u8,
        /// The other CPU, if two CPUs are stopped and not the machine.
        with: Option<CpuId>,
    },
}

/// A scheduling event with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedRecord {
    /// The time of the event.
    pub at: Instant,
    /// The event.
    pub event: SchedEvent,
}

/// There is no memory for the rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl Trace {
    /// Makes the rings of scheduling events, if there are none yet. They are never freed.
    ///
    /// # Context
    /// Thread; allocates. One thread at a time.
    ///
    /// # Errors
    /// [`NoMemory`]: there are no rings.
    pub fn make_sched(&self) -> Result<(), NoMemory> {
        if self.sched.get().is_some() {
            return Ok(());
        }
        // The memory of all comes before any ring: none is left half made.
        let mut slots = Vec::new();
        for _ in self.stops.iter() {
            slots.push(empty_slots()?);
        }
        let cpus = slots.len();
        let mut slots = slots.into_iter();
        let next = |_| SchedRing {
            ring: Ring::new(slots.next().expect("BUG: as many rings as CPUs")),
            first: AtomicU64::new(0),
        };
        self.sched.call_once(|| PerCpu::new(cpus, next));
        Ok(())
    }

    /// Forgets all scheduling events.
    ///
    /// # Context
    /// Any, while no scheduling event is written. One thread at a time.
    pub fn forget_sched(&self) {
        for (_, SchedRing { ring, first }) in self.sched.get().iter().flat_map(|rings| rings.iter())
        {
            first.store(ring.next(), Ordering::Relaxed);
        }
    }

    /// Writes `event` of `on`, this CPU, if there are rings.
    ///
    /// # Context
    /// Any, once this CPU has been told SHOULD_ONLINE.
    pub fn write_sched<E: LocalCpu>(
        &self,
        _masked: &IrqGuard<E>, // (one-writer-per-ring)
        on: CpuId,
        at: Instant,
        event: &SchedEvent,
    ) {
        if let Some(rings) = self.sched.get() {
            rings.get(on).ring.put(at, encode(event));
        }
    }

    /// Writes that `on`, this CPU, sends SGI `number` to `targets`, if there are rings.
    ///
    /// # Context
    /// As [`Trace::write_sched`].
    pub fn write_sgi<E: LocalCpu>(
        &self,
        masked: &IrqGuard<E>,
        on: CpuId,
        at: Instant,
        number: u8,
        targets: &CpuMask,
    ) {
        let first_words = (0u8..).step_by(DETAIL);
        for (first_word, words) in first_words.zip(targets.bits().chunks(DETAIL)) {
            if words.iter().all(|word| *word == 0) {
                continue;
            }
            let mut targets = [0; DETAIL];
            targets[..words.len()].copy_from_slice(words);
            let event = SchedEvent::Sgi {
                number,
                first_word,
                targets,
            };
            self.write_sched(masked, on, at, &event);
        }
    }

    /// Returns the scheduling events of `cpu` since [`Trace::forget_sched`], in their order, and how
    /// many it had besides; `None` if there are no rings. No event between two of them is missing.
    ///
    /// # Context
    /// Thread; allocates.
    pub fn sched_of(&self, cpu: CpuId) -> Option<(Vec<SchedRecord>, Missing)> {
        let SchedRing { ring, first } = self.sched.get()?.get(cpu);
        let first = first.load(Ordering::Relaxed);
        let mut records = Vec::new();
        let mut next = None;
        let mut dropped = 0;
        let mut missing = ring.read(first, &mut |number, at, words| {
            if next.is_some_and(|next| next != number) {
                // The ring was written around while it was read: only what comes after has no gap.
                dropped += records.len() as u64;
                records.clear();
            }
            next = Some(number + 1);
            if let Some(event) = decode(words) {
                records.push(SchedRecord { at, event });
            }
        });
        missing.torn += dropped;
        Some((records, missing))
    }
}

impl SchedEvent {
    /// Returns whether it says that an SGI of number `wanted` is sent to `cpu`.
    pub fn is_sgi_to(&self, wanted: u8, cpu: CpuId) -> bool {
        let SchedEvent::Sgi {
            number,
            first_word,
            targets,
        } = self
        else {
            return false;
        };
        let word = (cpu.index() / 64).checked_sub(usize::from(*first_word));
        let word = word.and_then(|word| targets.get(word));
        *number == wanted && word.is_some_and(|word| word >> (cpu.index() % 64) & 1 != 0)
    }
}

fn empty_slots() -> Result<Box<[Slot<WORDS>]>, NoMemory> {
    let mut slots = Vec::new();
    let reserved = slots.try_reserve_exact(SCHED_EVENTS);
    reserved.map_err(|_| NoMemory)?;
    slots.extend((0..SCHED_EVENTS).map(|_| Slot::new()));
    Ok(slots.into_boxed_slice())
}

/// Returns `event` as words: in the first its kind in bits 7:0, small numbers in 15:8 and 23:16,
/// a large number in 63:32; in the others its name or its mask.
fn encode(event: &SchedEvent) -> [u64; WORDS] {
    let words = |kind: u64, small: u8, other: u8, large: u32, detail: [u64; DETAIL]| {
        let first = kind | u64::from(small) << 8 | u64::from(other) << 16 | u64::from(large) << 32;
        let [a, b, c] = detail;
        [first, a, b, c]
    };
    const NONE: [u64; DETAIL] = [0; DETAIL];
    match *event {
        SchedEvent::Switch {
            thread,
            name,
            is_idle,
        } => words(1, u8::from(is_idle), 0, thread, name.to_words()),
        SchedEvent::IrqBegin { intid } => words(2, 0, 0, intid, NONE),
        SchedEvent::IrqEnd { makes_due } => words(3, u8::from(makes_due), 0, 0, NONE),
        SchedEvent::Sgi {
            number,
            first_word,
            targets,
        } => words(4, number, first_word, 0, targets),
        SchedEvent::State { state, with } => {
            let with = with.map_or(0, |cpu| cpu.as_u32() + 1);
            words(5, state, 0, with, NONE)
        }
    }
}

/// Returns the event that `words` encode, or `None` if they encode none.
fn decode(words: [u64; WORDS]) -> Option<SchedEvent> {
    let [first, detail @ ..] = words;
    let [kind, small, other, _, large @ ..] = first.to_le_bytes();
    let large = u32::from_le_bytes(large);
    Some(match kind {
        1 => SchedEvent::Switch {
            thread: large,
            name: ThreadName::from_words(detail),
            is_idle: small != 0,
        },
        2 => SchedEvent::IrqBegin { intid: large },
        3 => SchedEvent::IrqEnd {
            makes_due: small != 0,
        },
        4 => SchedEvent::Sgi {
            number: small,
            first_word: other,
            targets: detail,
        },
        5 => SchedEvent::State {
            state: small,
            with: match large.checked_sub(1) {
                Some(cpu) => Some(CpuId::new(cpu as usize)?),
                None => None,
            },
        },
        _ => return None,
    })
}

const _: () = assert!(MASK_WORDS <= u8::MAX as usize);

#[cfg(test)]
mod tests;
