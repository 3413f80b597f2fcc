//! Events of the governor: the load that it has measured, what it has decided, and why.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::ring::{Missing, Ring, Slot};
use crate::config::GOVERNOR_EVENTS;
use crate::cpu::CpuId;
use crate::time::Instant;
use crate::trace::{NoMemory, Trace};

/// How many words an event takes: its kind and numbers of CPUs, and the load.
const WORDS: usize = 2;

/// The ring of the governor, of the whole machine.
pub(super) type GovernorRing = Ring<Box<[Slot<WORDS>]>, WORDS>;

/// Why the governor has CPUs come or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Threads have waited for a CPU.
    Waiting,
    /// With fewer CPUs each is still less busy than the target.
    Idle,
    /// Fewer CPUs are online than the floor.
    Floor,
    /// More CPUs are online than the ceiling.
    Ceiling,
    /// The governor `performance` was chosen.
    Performance,
    /// With the governor `userspace` a number of CPUs was asked for.
    Userspace,
}

impl Reason {
    const ALL: [Reason; 6] = [
        Reason::Waiting,
        Reason::Idle,
        Reason::Floor,
        Reason::Ceiling,
        Reason::Performance,
        Reason::Userspace,
    ];

    /// Returns a word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Waiting => "waiting",
            Reason::Idle => "idle",
            Reason::Floor => "floor",
            Reason::Ceiling => "ceiling",
            Reason::Performance => "performance",
            Reason::Userspace => "userspace",
        }
    }
}

/// The load since the measurement before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// How many CPUs were busy on average, in thousandths.
    pub busy: u32,
    /// How many threads waited for a CPU on average, in thousandths.
    pub waiting: u32,
}

/// An event of the governor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GovernorEvent {
    /// It has measured the load.
    Measured {
        /// How many CPUs are online.
        online: u16,
        /// The load.
        load: Load,
    },
    /// It has decided that CPUs come or go, which begins now.
    Decided {
        /// Why.
        reason: Reason,
        /// How many CPUs are online.
        from: u16,
        /// How many are to be.
        to: u16,
        /// The load.
        load: Load,
    },
    /// That is over.
    Done {
        /// Why it was decided.
        reason: Reason,
        /// How many CPUs were to be online.
        wanted: u16,
        /// How many are.
        online: u16,
    },
}

/// An event of the governor with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GovernorRecord {
    /// The time of the event.
    pub at: Instant,
    /// The CPU on which it was written.
    pub on: CpuId,
    /// The event.
    pub event: GovernorEvent,
}

/// A decision of the governor, with what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedDecision {
    /// When it was made.
    pub at: Instant,
    /// The CPU on which it was made.
    pub on: CpuId,
    /// Why.
    pub reason: Reason,
    /// How many CPUs were online.
    pub from: u16,
    /// How many were to be.
    pub to: u16,
    /// The load.
    pub load: Load,
    /// How long it took to carry it out, in ticks, and how many CPUs are online since; `None` if
    /// that isn't recorded.
    pub done: Option<(u64, u16)>,
}

/// Returns the decisions in `records`, which are in the order of their time.
pub fn recorded_decisions(records: &[GovernorRecord]) -> Vec<RecordedDecision> {
    let mut decisions: Vec<RecordedDecision> = Vec::new();
    for record in records {
        match record.event {
            GovernorEvent::Measured { .. } => {}
            GovernorEvent::Decided {
                reason,
                from,
                to,
                load,
            } => decisions.push(RecordedDecision {
                at: record.at,
                on: record.on,
                reason,
                from,
                to,
                load,
                done: None,
            }),
            GovernorEvent::Done { online, .. } => {
                if let Some(last) = decisions.last_mut() {
                    last.done = Some((record.at.ticks_since(last.at), online));
                }
            }
        }
    }
    decisions
}

impl Trace {
    /// Makes the ring of the governor, if there is none yet. It is never freed.
    ///
    /// # Context
    /// Thread; allocates.
    ///
    /// # Errors
    /// [`NoMemory`]: there is none.
    pub fn make_governor(&self) -> Result<(), NoMemory> {
        if self.governor.get().is_none() {
            let mut slots = Vec::new();
            let reserved = slots.try_reserve_exact(GOVERNOR_EVENTS);
            reserved.map_err(|_| NoMemory)?;
            slots.extend((0..GOVERNOR_EVENTS).map(|_| Slot::new()));
            let ring = || Ring::new(slots.into_boxed_slice());
            self.governor.call_once(ring);
        }
        Ok(())
    }

    /// Writes `event`, which happened at `at`, if there is a ring. `on` is a CPU on which the
    /// caller ran a moment ago.
    ///
    /// # Context
    /// Thread; one at a time (`one-writer-per-ring`).
    pub fn write_governor(&self, on: CpuId, at: Instant, event: GovernorEvent) {
        if let Some(ring) = self.governor.get() {
            ring.put(at, encode(on, event));
        }
    }

    /// Returns the events of the governor, in their order, and how many it had besides.
    ///
    /// # Context
    /// Thread; allocates.
    pub fn governor(&self) -> (Vec<GovernorRecord>, Missing) {
        let mut records = Vec::new();
        let Some(ring) = self.governor.get() else {
            return (records, Missing::default());
        };
        let missing = ring.read(0, &mut |_, at, words| {
            if let Some((on, event)) = decode(words) {
                records.push(GovernorRecord { at, on, event });
            }
        });
        (records, missing)
    }
}

/// Returns `event` as words: in the first its kind in bits 7:0, its reason in 15:8, two numbers of
/// CPUs in 31:16 and 47:32, and `on` in 63:48; in the other the load.
fn encode(on: CpuId, event: GovernorEvent) -> [u64; WORDS] {
    let words = |kind: u64, reason: u8, first: u16, second: u16, load: Load| {
        let numbers = u64::from(first) << 16 | u64::from(second) << 32;
        let place = (on.index() as u64) << 48;
        [
            kind | u64::from(reason) << 8 | numbers | place,
            u64::from(load.busy) | u64::from(load.waiting) << 32,
        ]
    };
    match event {
        GovernorEvent::Measured { online, load } => words(1, 0, online, 0, load),
        GovernorEvent::Decided {
            reason,
            from,
            to,
            load,
        } => words(2, reason as u8, from, to, load),
        GovernorEvent::Done {
            reason,
            wanted,
            online,
        } => words(3, reason as u8, wanted, online, Load::default()),
    }
}

/// Returns the event that `words` encode and the CPU that wrote it, or `None` if they encode none.
fn decode(words: [u64; WORDS]) -> Option<(CpuId, GovernorEvent)> {
    let [kind, reason, a, b, c, d, on @ ..] = words[0].to_le_bytes();
    let (first, second) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    let [e, f, g, h, waiting @ ..] = words[1].to_le_bytes();
    let load = Load {
        busy: u32::from_le_bytes([e, f, g, h]),
        waiting: u32::from_le_bytes(waiting),
    };
    let reason = Reason::ALL.get(usize::from(reason)).copied();
    let event = match kind {
        1 => GovernorEvent::Measured {
            online: first,
            load,
        },
        2 => GovernorEvent::Decided {
            reason: reason?,
            from: first,
            to: second,
            load,
        },
        3 => GovernorEvent::Done {
            reason: reason?,
            wanted: first,
            online: second,
        },
        _ => return None,
    };
    let on = CpuId::new(u16::from_le_bytes(on).into())?;
    Some((on, event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_survives_its_encoding() {
        let load = Load {
            busy: 3_750,
            waiting: u32::MAX,
        };
        let on = CpuId::new(511).expect("small");
        let of = |reason| {
            [
                GovernorEvent::Decided {
                    reason,
                    from: 512,
                    to: 1,
                    load,
                },
                GovernorEvent::Done {
                    reason,
                    wanted: 3,
                    online: 512,
                },
                GovernorEvent::Measured { online: 512, load },
            ]
        };
        for event in Reason::ALL.into_iter().flat_map(of) {
            assert_eq!(decode(encode(on, event)), Some((on, event)));
        }
        assert_eq!(decode([0, 0]), None);
    }
}
